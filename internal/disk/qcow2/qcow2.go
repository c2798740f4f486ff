// Package qcow2 is the disk driver for QEMU on file systems without reflinks: a disk is an
// overlay file that holds the differences from the base.
package qcow2

import (
	"context"
	"os"
	"path/filepath"

	"banger/api"
	"banger/internal/disk"
	"banger/internal/host/execx"
)

// Driver writes overlays itself, without starting a process.
type Driver struct{}

// New returns the driver.
func New() Driver { return Driver{} }

// Name implements disk.Driver.
func (Driver) Name() string { return "qcow2" }

// Format implements disk.Driver.
func (Driver) Format() disk.Format { return disk.Qcow2 }

// Layered implements disk.Driver.
func (Driver) Layered() bool { return true }

// Probe implements disk.Driver: only a base path that is too long makes it fail.
func (Driver) Probe(_ context.Context, _, baseDir string) error {
	const name = 255 // the longest file name
	if len(baseDir)+1+name > maxBackingName {
		return api.Errorf(api.KindUnsupported, "paths below %.40s… are too long for qcow2", baseDir)
	}
	return nil
}

// Create implements disk.Driver.
func (Driver) Create(ctx context.Context, spec disk.Spec) error {
	base, err := filepath.Abs(spec.Base)
	if err != nil {
		return disk.Error("create", spec.Path, err)
	}
	info, err := os.Stat(base)
	if err != nil {
		return disk.Error("create", spec.Path, err)
	}
	o := overlay{size: info.Size(), backing: base}
	data, err := o.metadata()
	if err != nil {
		return api.Errorf(api.KindInvalid, "cannot create disk %s: %w", spec.Path, err)
	}
	return disk.Make(ctx, spec.Path, func(f *os.File) error {
		if _, err := f.Write(data); err != nil {
			return err
		}
		return f.Truncate(o.length())
	})
}

// Flatten implements disk.Driver: qemu-img leaves holes for blocks of zeros.
func (Driver) Flatten(ctx context.Context, spec disk.Spec, to string) error {
	return disk.Make(ctx, to, func(*os.File) error {
		return execx.Run(ctx, execx.Cmd{Name: "qemu-img", Args: []string{"convert", "-f", "qcow2", "-O", "raw", spec.Path, to}, Package: "qemu-utils"})
	})
}

// Grow implements disk.Driver. Beyond the base's end an overlay reads as zeros
// (docs/interop/qcow2.txt, "Backing file").
func (Driver) Grow(_ context.Context, spec disk.Spec, size int64) (string, error) {
	f, err := os.OpenFile(spec.Path, os.O_RDWR, 0)
	if err != nil {
		return "", disk.Error("grow", spec.Path, err)
	}
	defer f.Close()
	err = grow(f, size)
	if err != nil && api.KindOf(err) != api.KindUnsupported {
		err = disk.Error("grow", spec.Path, err)
	}
	return spec.Base, err
}

// Remove implements disk.Driver.
func (Driver) Remove(_ context.Context, path string) error { return disk.RemoveFile(path) }

// Clone implements disk.Cloner.
func (Driver) Clone(ctx context.Context, path, to string) error { return disk.CopyRaw(ctx, path, to) }
