package image

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"banger/api"
	"banger/internal/digeststore"
	"banger/internal/host/fileid"
	"banger/internal/host/fsx"
	"banger/internal/image/ext4"
)

// KernelOf makes a guest kernel from the files of a registered image. It returns the kernel's digest
// and the files that it was made from, the kernel first.
type KernelOf = func(ctx context.Context, report api.Report) (digest string, files []fileid.File, err error)

// Register makes an image of files that stay where they are: a root file system, which disks of VMs
// are made from without a copy, and a kernel, if kernel is not nil. inUse is that of Delete.
func (c *Cache) Register(ctx context.Context, req api.RegisterImage, kernel KernelOf, inUse func(digest string) []string, report api.Report) (api.Image, error) {
	made, err := registering{c.inPlace, inUse, report}.register(ctx, req, kernel)
	if err != nil && ctx.Err() != nil {
		return made, canceled(ctx)
	}
	return made, err
}

// registering is one registration.
type registering struct {
	*inPlace
	inUse  func(digest string) []string
	report api.Report
}

// CheckRegister refuses a request that no host can carry out.
func (c *Cache) CheckRegister(req api.RegisterImage) error {
	if err := checkName(req.Name); err != nil {
		return err
	}
	if req.Initrd != "" {
		return api.Errorf(api.KindUnsupported, "cannot use an initramfs of your own, %s: a guest's first program is banger's agent, and banger makes the initramfs that starts it from the kernel, its modules and the agent", req.Initrd).
			WithHint("leave --initrd out; name the directory of the kernel's modules with --modules")
	}
	if req.Modules != "" && req.Kernel == "" {
		return api.Errorf(api.KindInvalid, "cannot register modules without their kernel").WithHint("add --kernel FILE, or leave --modules out to use the default kernel")
	}
	for _, path := range []string{req.Rootfs, req.Kernel, req.Modules} {
		if path != "" && !filepath.IsAbs(path) || req.Rootfs == "" {
			return api.Errorf(api.KindInvalid, "the path of a file to register must be absolute, not %q", path)
		}
	}
	return nil
}

func (r registering) register(ctx context.Context, req api.RegisterImage, kernel KernelOf) (api.Image, error) {
	name := r.records.names.host.Canonical(req.Name)
	refuse := func(path string, err error) (api.Image, error) {
		return api.Image{}, api.Errorf(api.KindOf(err), "cannot register %s: %w", path, err)
	}
	path, err := realPath(req.Rootfs)
	if err != nil {
		return refuse(req.Rootfs, err)
	}
	if err := r.checkPlace(path); err != nil {
		return refuse(path, err)
	}
	if err := r.checkFree(name, path); err != nil {
		return api.Image{}, err
	}
	f, err := fileid.Open(path)
	if err != nil {
		return refuse(path, err)
	}
	defer f.Close()
	if err := checkRootfs(path, f); err != nil {
		return refuse(path, err)
	}
	if req.Kernel != "" {
		if err := checkKernel(req); err != nil { // before the long work
			return refuse(req.Kernel, err)
		}
	}
	reg := registration{}
	if reg.Rootfs, err = fileid.Record(ctx, path, f, hashing(r.report)); err != nil {
		return refuse(path, err)
	}
	if reg.UsedBytes, err = fsx.UsageOf(f); err != nil {
		return refuse(path, err)
	}
	if kernel != nil {
		if reg.Kernel, reg.KernelFiles, err = kernel(ctx, r.report); err != nil {
			return api.Image{}, err
		}
		if err := reg.Rootfs.Same(f); err != nil { // a kernel is booted once, which takes its time
			return refuse(path, err)
		}
	}
	return r.add(name, reg)
}

// realPath returns the path of a file without symbolic links in its directories. A link at the end is
// refused: what it leads to may be registered.
func realPath(path string) (string, error) {
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return "", api.Errorf(openKind(err), "cannot find its directory: %w", err)
	}
	real := filepath.Join(dir, filepath.Base(path))
	info, err := os.Lstat(real)
	if err == nil && info.Mode()&os.ModeSymlink != 0 {
		e := api.Errorf(api.KindInvalid, "it is a symbolic link, which could lead to another file tomorrow")
		if target, err := filepath.EvalSymlinks(real); err == nil {
			e = e.WithHint("register the file itself: %s", target)
		}
		return "", e
	}
	return real, nil
}

// checkKernel refuses a kernel's file that cannot be used, whatever is in it.
func checkKernel(req api.RegisterImage) error {
	path, err := realPath(req.Kernel)
	if err != nil {
		return err
	}
	f, err := fileid.Open(path)
	if err != nil {
		return err
	}
	if info, err := os.Stat(req.Modules); req.Modules != "" && (err != nil || !info.IsDir()) {
		return errors.Join(api.Errorf(api.KindInvalid, "its modules are missing: %s is not a directory", req.Modules), f.Close())
	}
	return f.Close()
}

// checkPlace refuses banger's own files.
func (p *inPlace) checkPlace(path string) error {
	for _, dir := range p.own {
		if real, err := filepath.EvalSymlinks(dir); err == nil && strings.HasPrefix(path, real+"/") {
			return api.Errorf(api.KindInvalid, "it is one of banger's own files, in %s", real).
				WithHint("banger image tag gives an image another name; banger vm commit makes an image from a VM")
		}
	}
	return nil
}

// checkRootfs refuses a file that is not an ext4 file system of which nothing is outstanding: it is not
// written to, so it cannot be repaired.
func checkRootfs(path string, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return api.Errorf(api.KindInternal, "it cannot be examined: %w", err)
	}
	if info.Size() == 0 {
		return api.Errorf(api.KindInvalid, "it is empty")
	}
	s, err := ext4.ReadSuper(f)
	switch {
	case err != nil:
		return api.AsError(err).WithHint("only an ext4 file can be used in place; others are copied: banger image import %s", path)
	case s.Bytes > info.Size():
		return api.Errorf(api.KindInvalid, "its file system is cut off: the file has %d bytes of %d", info.Size(), s.Bytes)
	case !s.Clean:
		return api.Errorf(api.KindConflict, "its file system is mounted, or was not unmounted: its journal has to be replayed, and banger does not write to it").
			WithHint("unmount it, or: e2fsck -f %s", path)
	case info.Size()%mib != 0:
		return api.Errorf(api.KindInvalid, "it has %d bytes, and a disk has a whole number of MiB", info.Size()).WithHint("truncate --size %%1M %s   makes it longer; what is in it stays", path)
	}
	return nil
}

// checkFree refuses a name that another image has. The same file may be registered again under its name.
func (p *inPlace) checkFree(name, path string) error {
	l := p.records.Lock()
	defer l.Unlock()
	return p.free(l, name, path)
}

func (p *inPlace) free(l locked, name, path string) error {
	e, there := l.Exact(name)
	if !there || path != "" && e.Object.registered() && e.Object.image.Registered.Rootfs == path {
		return nil
	}
	return api.Errorf(api.KindExists, "an image named %q exists already", name).
		WithHint("choose another name, or: banger image delete %s", name)
}

// add stores a registration and names it. The image's digest stands for the path and the content, so that a
// file that is registered again is the same image, and banger's own copy of it another one.
func (r registering) add(name string, reg registration) (api.Image, error) {
	hex := fmt.Sprintf("%x", sha256.Sum256([]byte("registered "+reg.Rootfs.Path+"\n"+reg.Rootfs.SHA256)))
	m := meta{
		Source: "registered: " + reg.Rootfs.Path, Arch: runtime.GOARCH, DiskBytes: reg.Rootfs.Size, CreatedAt: time.Now().UTC(),
		Registered: true, Kernel: reg.Kernel,
	}
	dir, err := r.records.Stage()
	if err != nil {
		return api.Image{}, err
	}
	defer os.RemoveAll(dir)
	err = fsx.WriteJSON(filepath.Join(dir, registrationFile), reg)
	if err == nil {
		err = fsx.WriteJSON(filepath.Join(dir, digeststore.MetaFile), m)
	}
	if err != nil {
		return api.Image{}, fsx.DiskError("record the image", err)
	}
	l := r.records.Lock()
	defer l.Unlock()
	if err := r.free(l, name, reg.Rootfs.Path); err != nil { // another registration was faster
		return api.Image{}, err
	}
	old, _ := l.Named(name)
	if !r.records.isComplete(hex) {
		made, err := withNames(l.Commit(dir, hex, name))
		return made, errors.Join(err, r.forget(l, old, hex))
	}
	for _, file := range []string{registrationFile, digeststore.MetaFile} {
		if err := os.Rename(filepath.Join(dir, file), r.records.Path(hex, file)); err != nil {
			return api.Image{}, fsx.DiskError("record the image", err)
		}
	}
	if err := fsx.SyncDir(r.records.Path(hex)); err != nil {
		return api.Image{}, fsx.DiskError("record the image", err)
	}
	made, err := withNames(l.Name(hex, name))
	return made, errors.Join(err, r.forget(l, old, hex))
}

// forget removes the record of a registered image that has just lost its last name, if no VM needs it.
func (r registering) forget(l locked, hex, unless string) error {
	if hex == "" || hex == unless {
		return nil
	}
	e, err := l.Load(hex)
	if err != nil || !e.Object.registered() || len(e.Names) > 0 || len(r.inUse(e.Digest())) > 0 {
		return nil // a record that cannot be read is nobody's image
	}
	return removed(e, l.Remove(hex))
}

// Promote makes a managed copy of a registered image, which VMs of the registered one do not notice. With no
// name for it, the copy takes the name by which the image was asked for. inUse is that of Delete.
func (c *Cache) Promote(ctx context.Context, req api.PromoteImage, inUse func(digest string) []string, report api.Report) (api.Image, error) {
	p := registering{c.inPlace, inUse, report}
	hex, name, err := p.promoted(req)
	if err != nil {
		return api.Image{}, err
	}
	reg, err := p.registration(hex)
	if err != nil {
		return api.Image{}, err
	}
	m, err := p.records.meta(hex)
	if err != nil {
		return api.Image{}, api.Errorf(api.KindInternal, "cannot read the record of image %.80s: %w", req.Image, err)
	}
	about := &meta{Source: "copy of " + reg.Rootfs.Path, Kernel: m.Kernel, hex: reg.Rootfs.SHA256}
	made, err := c.maker.fromFile(ctx, []string{name}, about, report, func(to string) error { return p.copy(ctx, reg.Rootfs, to) })
	var changed *fileid.ChangedError
	if errors.As(err, &changed) {
		err = restore(changed) // alone: that a copy failed says nothing more
	}
	if err != nil {
		return made, api.Errorf(api.KindOf(err), "cannot copy image %.80s: %w", req.Image, err)
	}
	l := p.records.Lock()
	defer l.Unlock()
	return made, p.forget(l, hex, digeststore.Hex(made.Digest))
}

// promoted finds the image to copy, and the name of the copy.
func (p *inPlace) promoted(req api.PromoteImage) (hex, name string, err error) {
	if req.Name != "" {
		if err := checkName(req.Name); err != nil {
			return "", "", err
		}
	}
	l := p.records.Lock()
	defer l.Unlock()
	e, err := p.records.find(l, req.Image)
	if err != nil {
		return "", "", err
	}
	if !e.Object.registered() {
		return "", "", api.Errorf(api.KindConflict, "image %.80s is not registered: banger has its files already", req.Image).
			WithHint("banger image tag %s NAME   gives it another name", req.Image)
	}
	if req.Name == "" {
		name, there, err := p.records.nameIn(l, req.Image)
		if err == nil && !there {
			err = api.Errorf(api.KindInvalid, "cannot name the copy of image %.80s: it was not asked for by a name", req.Image).
				WithHint("banger image promote %s --name NAME", req.Image)
		}
		return e.Hex, name, err
	}
	name = p.records.names.host.Canonical(req.Name)
	if slices.Contains(e.Names, name) {
		return e.Hex, name, nil
	}
	return e.Hex, name, p.free(l, name, "")
}

// copy copies a registered file, which must be what was recorded, to a new file. Only what the copy holds
// counts: the digest is that of the copy, so a change while it was made does not go unnoticed.
func (r registering) copy(ctx context.Context, from fileid.File, to string) error {
	f, err := fileid.Open(from.Path)
	if err != nil {
		return restore(&fileid.ChangedError{Path: from.Path, Err: err})
	}
	defer f.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	err = fsx.CloneData(ctx, out, f, from.Size, func(done int64) {
		r.report(api.Progress{Step: "image", Message: "copying the image", Done: done, Total: from.Size, Unit: "bytes"})
	})
	if err != nil {
		return err
	}
	info, err := out.Stat()
	if err != nil {
		return err
	}
	sum, err := fileid.Hash(ctx, out, info.Size(), hashing(r.report))
	if err != nil {
		return err
	}
	if sum != from.SHA256 {
		return restore(&fileid.ChangedError{Path: from.Path, Err: api.Errorf(api.KindConflict, "its content has changed")})
	}
	return nil
}
