// Package dmsnap is the disk driver of system mode: a disk is a sparse
// copy-on-write file, and what the VM sees is a device-mapper snapshot over the
// base and that file, which the root helper makes (package blockdev) each time
// the VM starts.
package dmsnap

import (
	"context"
	"os"

	"banger/api"
	"banger/internal/blockdev"
	"banger/internal/disk"
	"banger/internal/fsx"
)

// Driver makes copy-on-write files.
type Driver struct {
	available func(ctx context.Context) error
}

// New returns the driver. Available says why no snapshot can be attached on
// this host, if so: the helper knows.
func New(available func(ctx context.Context) error) *Driver { return &Driver{available} }

// Name implements disk.Driver.
func (d *Driver) Name() string { return "dm-snapshot" }

// Format implements disk.Driver: so the VMM sees the device.
func (d *Driver) Format() disk.Format { return disk.Raw }

// Layered implements disk.Driver.
func (*Driver) Layered() bool { return true }

// Create implements disk.Driver. The file is one hole, which the device-mapper
// takes for a snapshot that nothing was written to. As a hole needs no room, a
// full file system shows only when the disk is attached.
func (d *Driver) Create(ctx context.Context, spec disk.Spec) error {
	info, err := os.Stat(spec.Base)
	if err != nil {
		return disk.Error("create", spec.Path, err)
	}
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return api.Errorf(api.KindInvalid, "cannot create disk %s: base %s is empty or no file", spec.Path, spec.Base)
	}
	return disk.Make(ctx, spec.Path, func(f *os.File) error { return f.Truncate(blockdev.CowBytes(info.Size())) })
}

// Flatten implements disk.Driver: the base with what the copy-on-write file has
// instead. No device is made for it, so that it takes no privilege.
func (d *Driver) Flatten(ctx context.Context, spec disk.Spec, to string) error {
	base, err := os.Open(spec.Base)
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

// Remove implements disk.Driver.
func (d *Driver) Remove(_ context.Context, path string) error { return disk.RemoveFile(path) }

// Probe implements disk.Driver: it makes a sparse file, and asks the helper.
func (d *Driver) Probe(ctx context.Context, dir, _ string) error {
	if err := sparse(dir); err != nil {
		return err
	}
	return d.available(ctx)
}

// sparse says whether files in dir can have holes, without which each disk
// would need as much room as its base.
func sparse(dir string) error {
	const size = 16 << 20
	f, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return disk.Error("probe", dir, err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		return disk.Error("probe", dir, err)
	}
	if fsx.Usage(f.Name()) >= size/2 {
		return api.Errorf(api.KindUnsupported, "the file system has no sparse files")
	}
	return nil
}
