// Package copy is the disk driver that works everywhere: it copies the base, except its
// holes. The time that it takes is proportional to the base's data.
package copy

import (
	"context"
	"os"

	"banger/internal/disk"
	"banger/internal/host/fsx"
)

// Driver copies.
type Driver struct{}

// New returns the driver.
func New() Driver { return Driver{} }

// Name implements disk.Driver.
func (Driver) Name() string { return "copy" }

// Format implements disk.Driver.
func (Driver) Format() disk.Format { return disk.Raw }

// Layered implements disk.Driver.
func (Driver) Layered() bool { return false }

// Probe implements disk.Driver.
func (Driver) Probe(context.Context, string, string) error { return nil }

// Grow implements disk.Driver.
func (Driver) Grow(_ context.Context, spec disk.Spec, size int64) (string, error) {
	return spec.Base, disk.GrowFile(spec.Path, size)
}

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
		return fsx.CopyData(ctx, f, base, info.Size(), nil)
	})
}

// Flatten implements disk.Driver.
func (Driver) Flatten(ctx context.Context, spec disk.Spec, to string) error {
	return disk.CopyRaw(ctx, spec.Path, to)
}

// Clone implements disk.Cloner.
func (Driver) Clone(ctx context.Context, path, to string) error { return disk.CopyRaw(ctx, path, to) }
