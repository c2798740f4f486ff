// Package disks makes the disks of VMs from the files of images, and finds the file that a disk was
// made from.
package disks

import (
	"context"
	"os"
	"path/filepath"

	"banger/api"
	"banger/internal/disk"
	"banger/internal/host/fsx"
	"banger/internal/paths"
	"banger/internal/vm/records"
)

// Images are those that disks are made from.
type Images interface {
	// Disk returns the image's raw file of exactly that size, which is created once.
	Disk(ctx context.Context, digest string, size int64, report api.Report) (string, error)
	// Base is Disk for an existing file: it creates none, and returns an error of kind not found
	// if it is missing. A file that is used in place is checked: if it has changed, the error wraps a
	// *fileid.ChangedError.
	Base(ctx context.Context, digest string, size int64, report api.Report) (string, error)
}

// Options configure Disks.
type Options struct {
	Paths   paths.Paths
	Images  Images
	Drivers []disk.Driver // in order of preference
}

// Disks are those of all VMs.
type Disks struct {
	Options
	table *records.Table
}

// New returns the disks of the VMs in table.
func New(o Options, table *records.Table) *Disks { return &Disks{Options: o, table: table} }

// Path returns the path of a VM's disk.
func (s *Disks) Path(id string) string { return filepath.Join(s.Paths.VM(id), paths.VMDisk) }

// Driver returns the driver by name.
func (s *Disks) Driver(name string) (disk.Driver, error) {
	for _, d := range s.Drivers {
		if d.Name() == name {
			return d, nil
		}
	}
	return nil, api.Errorf(api.KindInternal, "no disk driver named %q", name)
}

// Make makes the disk of a new VM, and its directory.
func (s *Disks) Make(ctx context.Context, e *records.Entry, report api.Report) error {
	v := e.Record()
	if err := s.giveUpBase(ctx, v, report); err != nil {
		return err
	}
	base, err := s.Images.Disk(ctx, v.ImageDigest, v.DiskBytes, report)
	if err != nil {
		return err
	}
	dir := s.Paths.VM(v.ID)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return api.Errorf(api.KindInternal, "cannot create the directory of VM %s: %w", v.Name, err)
	}
	d, err := disk.Choose(ctx, s.Drivers, dir, filepath.Dir(base))
	if err != nil {
		return err
	}
	path := s.Path(v.ID)
	// Remove what an interrupted attempt left.
	if err := d.Remove(ctx, path); err != nil {
		return err
	}
	if err := d.Create(ctx, disk.Spec{Base: base, Path: path}); err != nil {
		return err
	}
	digest := ""
	if d.Layered() {
		if digest, err = baseDigest(base); err != nil {
			return err
		}
	}
	return e.Update(ctx, func(v *api.VM) { v.DiskDriver, v.BaseDigest = d.Name(), digest })
}

// Ready prepares the disk of a VM that is about to start, and makes it as long as it is
// recorded to be. It returns what the disk is attached with.
func (s *Disks) Ready(ctx context.Context, e *records.Entry, report api.Report) (string, error) {
	base, err := s.findBase(ctx, e, report)
	v := e.Record()
	if err != nil || v.GrownBytes == 0 {
		return base, err
	}
	d, err := s.Driver(v.DiskDriver)
	if err != nil {
		return "", err
	}
	return d.Grow(ctx, disk.Spec{Base: base, Path: s.Path(v.ID)}, v.GrownBytes)
}

// Flatten returns a function that writes the whole content of a VM's disk to a file. It fails
// if the disk has lost its base.
func (s *Disks) Flatten(ctx context.Context, v api.VM, report api.Report) (put func(ctx context.Context, to string) error, err error) {
	d, err := s.Driver(v.DiskDriver)
	if err != nil {
		return nil, err
	}
	base, err := s.baseOf(ctx, v, d, report)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, to string) error {
		return d.Flatten(ctx, disk.Spec{Base: base, Path: s.Path(v.ID)}, to)
	}, nil
}

// Usage returns the size that a VM's disk occupies on the host, or nil if that is unknown.
func (s *Disks) Usage(v api.VM) *api.DiskUsage {
	used := fsx.Usage(s.Path(v.ID))
	if used == 0 {
		return nil
	}
	return &api.DiskUsage{UsedBytes: used, TotalBytes: v.DiskSize()}
}

// Clone copies the disk of a VM, which nobody writes meanwhile, to a new file.
func (s *Disks) Clone(ctx context.Context, v api.VM, to string) error {
	return s.clone(ctx, v, s.Path(v.ID), to)
}

// Copy makes the disk of a new VM, and its directory, from a file that Clone has made.
func (s *Disks) Copy(ctx context.Context, v api.VM, from string) error {
	if err := os.MkdirAll(s.Paths.VM(v.ID), 0o700); err != nil {
		return api.Errorf(api.KindInternal, "cannot create the directory of VM %s: %w", v.Name, err)
	}
	// Remove what an interrupted attempt left.
	if err := disk.RemoveFile(s.Path(v.ID)); err != nil {
		return err
	}
	return s.clone(ctx, v, from, s.Path(v.ID))
}

func (s *Disks) clone(ctx context.Context, v api.VM, from, to string) error {
	d, err := s.Driver(v.DiskDriver)
	if err != nil {
		return err
	}
	c, ok := d.(disk.Cloner)
	if !ok {
		return api.Errorf(api.KindUnsupported, "cannot copy the disk of VM %s: its disk driver, %s, cannot", v.Name, v.DiskDriver)
	}
	return c.Clone(ctx, from, to)
}
