// Package copy is the disk driver that works everywhere: it copies the base,
// leaving out its holes. It takes time in proportion to the base's data.
package copy

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"banger/internal/disk"
)

// chunk is how much is copied between two looks at the context.
const chunk = 16 << 20

// Driver copies.
type Driver struct{}

// New returns the driver.
func New() Driver { return Driver{} }

// Name implements disk.Driver.
func (Driver) Name() string { return "copy" }

// Format implements disk.Driver.
func (Driver) Format() disk.Format { return disk.Raw }

// Probe implements disk.Driver.
func (Driver) Probe(context.Context, string, string) error { return nil }

// Remove implements disk.Driver.
func (Driver) Remove(_ context.Context, path string) error { return disk.RemoveFile(path) }

// Create implements disk.Driver.
func (Driver) Create(ctx context.Context, spec disk.Spec) error {
	base, err := os.Open(spec.Base)
	if err != nil {
		return disk.Error("create", spec.Path, err)
	}
	defer base.Close()
	info, err := base.Stat()
	if err != nil {
		return disk.Error("create", spec.Path, err)
	}
	return disk.Make(ctx, spec.Path, func(f *os.File) error {
		if err := f.Truncate(info.Size()); err != nil {
			return err
		}
		return copyData(ctx, f, base, info.Size())
	})
}

// copyData copies the parts of the file that are no holes (lseek(2), SEEK_DATA).
func copyData(ctx context.Context, to, from *os.File, size int64) error {
	for offset := int64(0); offset < size; {
		start, err := from.Seek(offset, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // only a hole is left
		}
		if err != nil {
			return err
		}
		end, err := from.Seek(start, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		if err := copyRange(ctx, to, from, start, end); err != nil {
			return err
		}
		offset = end
	}
	return nil
}

// copyRange copies within the kernel where the file systems allow
// (copy_file_range(2), which io.Copy uses for two files).
func copyRange(ctx context.Context, to, from *os.File, start, end int64) error {
	for at := start; at < end; {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if _, err := from.Seek(at, io.SeekStart); err != nil {
			return err
		}
		if _, err := to.Seek(at, io.SeekStart); err != nil {
			return err
		}
		n, err := io.CopyN(to, from, min(chunk, end-at))
		if err != nil {
			return err
		}
		at += n
	}
	return nil
}
