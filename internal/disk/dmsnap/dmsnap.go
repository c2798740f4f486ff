// Package dmsnap is the disk driver of system mode: a disk is a sparse copy-on-write file.
// The VM sees a device-mapper snapshot over the base and that file, which the root helper
// creates (package blockdev) each time the VM starts.
package dmsnap

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"banger/api"
	"banger/internal/disk"
	"banger/internal/host/blockdev"
	"banger/internal/host/fsx"
)

// Driver makes copy-on-write files.
type Driver struct {
	available func(ctx context.Context) error
}

// New returns the driver. available asks the helper, and returns why snapshots cannot be
// attached on this host, or nil.
func New(available func(ctx context.Context) error) *Driver { return &Driver{available} }

// Name implements disk.Driver.
func (d *Driver) Name() string { return "dm-snapshot" }

// Format implements disk.Driver: the VMM sees a raw device.
func (d *Driver) Format() disk.Format { return disk.Raw }

// Layered implements disk.Driver.
func (*Driver) Layered() bool { return true }

// Create implements disk.Driver. The file is one hole, which the device-mapper treats as a
// snapshot that nothing was written to. A hole needs no space, so a full file system shows
// only when the disk is attached.
func (d *Driver) Create(ctx context.Context, spec disk.Spec) error {
	info, err := os.Stat(spec.Base)
	if err != nil {
		return disk.Error("create", spec.Path, err)
	}
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return api.Errorf(api.KindInvalid, "cannot create disk %s: base %s is empty or not a regular file", spec.Path, spec.Base)
	}
	return disk.Make(ctx, spec.Path, func(f *os.File) error { return f.Truncate(blockdev.CowBytes(info.Size())) })
}

// Flatten implements disk.Driver: it merges the base and the copy-on-write file. It needs no
// device, and so no privilege.
func (d *Driver) Flatten(ctx context.Context, spec disk.Spec, to string) error {
	base, err := os.Open(grown(spec))
	if err != nil {
		return disk.Error("read", spec.Base, err)
	}
	defer base.Close()
	cow, err := os.Open(spec.Path)
	if err != nil {
		return disk.Error("read", spec.Path, err)
	}
	defer cow.Close()
	info, err := base.Stat()
	if err != nil {
		return disk.Error("read", spec.Base, err)
	}
	return disk.Make(ctx, to, func(f *os.File) error {
		if err := fsx.CloneData(ctx, f, base, info.Size(), nil); err != nil {
			return err
		}
		return blockdev.ApplyCow(ctx, f, cow, info.Size())
	})
}

// ownBase is what the base of a disk's own is called, which is longer than that of the image: a
// snapshot is as long as what it is of.
const ownBase = ".base"

// grown is the base of a disk: its own, if it was grown.
func grown(spec disk.Spec) string {
	if _, err := os.Stat(spec.Path + ownBase); err == nil {
		return spec.Path + ownBase
	}
	return spec.Base
}

// Grow implements disk.Driver. It copies the base, where the file system shares no blocks.
func (d *Driver) Grow(ctx context.Context, spec disk.Spec, size int64) (string, error) {
	if _, err := os.Stat(spec.Path); err != nil {
		return "", disk.Error("grow", spec.Path, err)
	}
	info, err := os.Stat(grown(spec))
	if err != nil {
		return "", disk.Error("grow", spec.Path, err)
	}
	if info.Size() < size {
		if err := d.growBase(ctx, spec, size); err != nil {
			return "", err
		}
	}
	base := grown(spec)
	if base != spec.Base {
		err = disk.GrowFile(spec.Path, blockdev.CowBytes(max(size, info.Size())))
	}
	return base, err
}

// growBase makes the disk's own base size bytes long, and makes it first.
func (d *Driver) growBase(ctx context.Context, spec disk.Spec, size int64) error {
	own, fresh := spec.Path+ownBase, spec.Path+ownBase+".new"
	if grown(spec) == own {
		return disk.GrowFile(own, size)
	}
	if err := disk.RemoveFile(fresh); err != nil { // what an interrupted attempt left
		return err
	}
	base, err := os.Open(spec.Base)
	if err != nil {
		return disk.Error("read", spec.Base, err)
	}
	defer base.Close()
	info, err := base.Stat()
	if err != nil {
		return disk.Error("read", spec.Base, err)
	}
	err = disk.Make(ctx, fresh, func(f *os.File) error {
		if err := fsx.CloneData(ctx, f, base, info.Size(), nil); err != nil {
			return err
		}
		return f.Truncate(size)
	})
	if err != nil {
		return err
	}
	if err := errors.Join(os.Rename(fresh, own), fsx.SyncDir(filepath.Dir(own))); err != nil {
		return disk.Error("grow", spec.Path, err)
	}
	return nil
}

// Remove implements disk.Driver.
func (d *Driver) Remove(_ context.Context, path string) error {
	return errors.Join(disk.RemoveFile(path), disk.RemoveFile(path+ownBase), disk.RemoveFile(path+ownBase+".new"))
}

// Probe implements disk.Driver: it makes a sparse file, and asks the helper.
func (d *Driver) Probe(ctx context.Context, dir, _ string) error {
	if err := sparse(dir); err != nil {
		return err
	}
	return d.available(ctx)
}

// sparse returns an error if files in dir cannot have holes: each disk would then need as
// much space as its base.
func sparse(dir string) error {
	const size = 16 << 20
	f, err := fsx.Nameless(dir)
	if err != nil {
		return disk.Error("probe", dir, err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		return disk.Error("probe", dir, err)
	}
	used, err := fsx.UsageOf(f)
	if err != nil {
		return disk.Error("probe", dir, err)
	}
	if used >= size/2 {
		return api.Errorf(api.KindUnsupported, "the file system does not support sparse files")
	}
	return nil
}
