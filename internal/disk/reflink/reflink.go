// Package reflink is the disk driver for file systems that share blocks
// between files: Btrfs, XFS, bcachefs.
package reflink

import (
	"context"
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"banger/internal/disk"
	"banger/internal/host/fsx"
)

// Driver clones the base with FICLONE (ioctl_ficlone(2)).
type Driver struct {
	mu    sync.Mutex
	known map[[2]uint64]error // probe results, by the devices of dir and baseDir
}

// New returns the driver.
func New() *Driver { return &Driver{known: map[[2]uint64]error{}} }

// Name implements disk.Driver.
func (d *Driver) Name() string { return "reflink" }

// Format implements disk.Driver.
func (d *Driver) Format() disk.Format { return disk.Raw }

// Layered implements disk.Driver.
func (*Driver) Layered() bool { return false }

// Create implements disk.Driver.
func (d *Driver) Create(ctx context.Context, spec disk.Spec) error {
	base, err := os.Open(spec.Base)
	if err != nil {
		return disk.Error("create", spec.Path, err)
	}
	defer base.Close()
	return disk.Make(ctx, spec.Path, func(f *os.File) error { return clone(f, base) })
}

// Flatten implements disk.Driver.
func (d *Driver) Flatten(ctx context.Context, spec disk.Spec, to string) error {
	return disk.CopyRaw(ctx, spec.Path, to)
}

// Grow implements disk.Driver.
func (d *Driver) Grow(_ context.Context, spec disk.Spec, size int64) (string, error) {
	return spec.Base, disk.GrowFile(spec.Path, size)
}

// Remove implements disk.Driver.
func (d *Driver) Remove(_ context.Context, path string) error { return disk.RemoveFile(path) }

// Probe implements disk.Driver: it clones a small file, once per pair of file
// systems.
func (d *Driver) Probe(_ context.Context, dir, baseDir string) error {
	devices, err := devicesOf(dir, baseDir)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err, ok := d.known[devices]; ok {
		return err
	}
	err = tryClone(dir, baseDir)
	if err == nil || errors.Is(err, errNoReflink) {
		d.known[devices] = err
	}
	return err
}

func devicesOf(dir, baseDir string) ([2]uint64, error) {
	var devices [2]uint64
	for i, name := range []string{dir, baseDir} {
		var st unix.Stat_t
		if err := unix.Stat(name, &st); err != nil {
			return devices, &os.PathError{Op: "stat", Path: name, Err: err}
		}
		devices[i] = st.Dev
	}
	return devices, nil
}

var errNoReflink = errors.New("the file system has no reflinks")

func tryClone(dir, baseDir string) error {
	from, err := fsx.Nameless(baseDir)
	if err != nil {
		return disk.Error("probe", baseDir, err)
	}
	defer from.Close()
	to, err := fsx.Nameless(dir)
	if err != nil {
		return disk.Error("probe", dir, err)
	}
	defer to.Close()
	if _, err := from.Write(make([]byte, 4096)); err != nil {
		return disk.Error("probe", baseDir, err)
	}
	err = clone(to, from)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return disk.Error("probe", dir, err)
	}
	return errNoReflink // EOPNOTSUPP, EXDEV, ENOTTY, EINVAL
}

func clone(to, from *os.File) error {
	if err := unix.IoctlFileClone(int(to.Fd()), int(from.Fd())); err != nil {
		return os.NewSyscallError("ioctl FICLONE", err)
	}
	return nil
}

// Clone implements disk.Cloner.
func (*Driver) Clone(ctx context.Context, path, to string) error { return disk.CopyRaw(ctx, path, to) }
