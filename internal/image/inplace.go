package image

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"banger/api"
	"banger/internal/digeststore"
	"banger/internal/host/fileid"
	"banger/internal/host/fsx"
	"banger/internal/image/singleflight"
)

// inPlace are the images whose files stay where the user has them. Of each, the cache has a record only:
// to delete the image is to forget it.
type inPlace struct {
	records *records
	own     []string // banger's own directories
	flights singleflight.Group
}

// registrationFile is the record of the files, in the image's directory.
const registrationFile = "registered.json"

// registration is what registrationFile holds.
type registration struct {
	Rootfs    fileid.File `json:"rootfs"`
	UsedBytes int64       `json:"used_bytes"` // that it occupies on the disk
	// Kernel is the digest of the kernel that was made from KernelFiles, the kernel's own file first.
	Kernel      string        `json:"kernel,omitempty"`
	KernelFiles []fileid.File `json:"kernel_files,omitempty"`
}

// api returns what is told of a registration.
func (r registration) api() *api.RegisteredFiles {
	told := &api.RegisteredFiles{Rootfs: r.Rootfs.Path, RootfsSHA256: r.Rootfs.SHA256}
	if len(r.KernelFiles) == 0 {
		return told
	}
	told.Kernel = r.KernelFiles[0].Path
	for _, f := range r.KernelFiles {
		if filepath.Base(f.Path) == "modules.builtin" {
			told.Modules = filepath.Dir(f.Path)
		}
	}
	return told
}

func readRegistration(dir string) (reg registration, err error) {
	data, err := os.ReadFile(filepath.Join(dir, registrationFile))
	if err == nil {
		err = json.Unmarshal(data, &reg)
	}
	return reg, err
}

func (p *inPlace) registration(hex string) (registration, error) {
	reg, err := readRegistration(p.records.Path(hex))
	if err != nil {
		return reg, api.Errorf(api.KindInternal, "cannot read the record of a registered image: %w", err).WithHint("banger image list")
	}
	return reg, nil
}

// base checks the root file system of an image, and returns its path.
func (p *inPlace) base(ctx context.Context, hex string, size int64, report api.Report) (string, error) {
	if err := p.checkRootfs(ctx, hex, report); err != nil {
		return "", err
	}
	reg, err := p.registration(hex)
	if err == nil && size != reg.Rootfs.Size {
		err = api.Errorf(api.KindInternal, "a disk over the registered file %s begins with its size, %d bytes, not %d", reg.Rootfs.Path, reg.Rootfs.Size, size)
	}
	return reg.Rootfs.Path, err
}

func (p *inPlace) checkRootfs(ctx context.Context, hex string, report api.Report) error {
	err := p.check(ctx, hex, "rootfs", report, func(reg registration) []fileid.File { return []fileid.File{reg.Rootfs} })
	var changed *fileid.ChangedError
	if errors.As(err, &changed) {
		return restore(changed)
	}
	return err
}

// CheckKernel makes sure that the files from which a registered image's kernel was made are what they were, if
// the kernel with that digest was made of them. Other images have none.
func (c *Cache) CheckKernel(ctx context.Context, digest, kernel string, report api.Report) error {
	hex := digeststore.Hex(digest)
	m, err := c.records.meta(hex)
	if err != nil || !m.Registered || m.Kernel != kernel {
		return nil // the image is gone, or not registered, or was registered again with another kernel
	}
	err = c.inPlace.check(ctx, hex, "kernel", report, func(reg registration) []fileid.File { return reg.KernelFiles })
	var changed *fileid.ChangedError
	if errors.As(err, &changed) {
		return api.Errorf(api.KindConflict, "a file of its kernel was changed after it was registered: %w", err).
			WithHint("restore %s; or register the image again, under the same name: VMs that exist then keep the kernel that they have", changed.Path)
	}
	return err
}

// check compares files of a registered image with what was recorded, once for all that wait for it.
func (p *inPlace) check(ctx context.Context, hex, part string, report api.Report, pick func(registration) []fileid.File) error {
	return p.flights.Do(ctx, part+" "+hex, report, func(ctx context.Context, report api.Report) error {
		reg, err := p.registration(hex)
		if err != nil {
			return err
		}
		var fresh []fileid.File
		for _, f := range pick(reg) {
			now, err := f.Check(ctx, func(done, total int64) {
				report(api.Progress{Step: "image", Message: "checking " + f.Path, Done: done, Total: total, Unit: "bytes"})
			})
			if err != nil {
				return err
			}
			if now != f {
				fresh = append(fresh, now)
			}
		}
		return p.refresh(hex, fresh)
	})
}

// refresh records new identities of files whose content is as it was, so that the next check need not read
// them.
func (p *inPlace) refresh(hex string, fresh []fileid.File) error {
	if len(fresh) == 0 {
		return nil
	}
	l := p.records.Lock()
	defer l.Unlock()
	reg, err := p.registration(hex)
	if err != nil {
		return err
	}
	for _, f := range fresh {
		same := func(old fileid.File) bool { return old.Path == f.Path && old.SHA256 == f.SHA256 } // not registered again
		if same(reg.Rootfs) {
			reg.Rootfs = f
		}
		if i := slices.IndexFunc(reg.KernelFiles, same); i >= 0 {
			reg.KernelFiles[i] = f
		}
	}
	return fsx.DiskError("record the image", fsx.WriteJSON(p.records.Path(hex, registrationFile), reg))
}

// restore says what to do about a root file system that has changed.
func restore(changed *fileid.ChangedError) error {
	return api.Errorf(api.KindConflict, "the registered root file system %w", changed).
		WithHint("restore %s as it was, or register it again: banger image register NAME --rootfs %s", changed.Path, changed.Path)
}

// open opens the root file system of a registered image that was just checked. same says afterwards whether it
// stayed as it was.
func (p *inPlace) open(hex string) (f *os.File, same func() error, err error) {
	reg, err := p.registration(hex)
	if err != nil {
		return nil, nil, err
	}
	if f, err = fileid.Open(reg.Rootfs.Path); err != nil {
		return nil, nil, restore(&fileid.ChangedError{Path: reg.Rootfs.Path, Err: err})
	}
	same = func() error {
		if err := reg.Rootfs.Same(f); err != nil {
			return restore(&fileid.ChangedError{Path: reg.Rootfs.Path, Err: err})
		}
		return nil
	}
	if err := same(); err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, same, nil
}
