package image

import (
	"archive/tar"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"banger/api"
	"banger/internal/digeststore"
	"banger/internal/host/fileid"
)

func nobody(string) []string { return nil }

// ext4File makes an ext4 file outside of the cache.
func ext4File(t *testing.T, c *Cache) string {
	t.Helper()
	i, err := c.Import(t.Context(), api.ImportImage{Path: save(t, archive(t, tar.Header{Name: "x", Typeflag: tar.TypeReg, Linkname: "x"})), Name: "source"}, silent)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "root.ext4")
	if err := cloneFile(t.Context(), c.records.Path(digeststore.Hex(i.Digest), rootfsFile), path, silent); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete("source", nobody); err != nil {
		t.Fatal(err)
	}
	return path
}

func register(t *testing.T, c *Cache, name, path string) (api.Image, error) {
	t.Helper()
	return c.Register(t.Context(), api.RegisterImage{Name: name, Rootfs: path}, nil, nobody, silent)
}

func must(t *testing.T, i api.Image, err error) api.Image {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// spoil writes a byte into a file, where the file system does not notice it.
func spoil(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("changed"), 0); err != nil { // the boot sector
		t.Fatal(err)
	}
}

func TestRegister(t *testing.T) {
	c := open(t)
	path := ext4File(t, c)
	i, err := register(t, c, "mine", path)
	must(t, i, err)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if i.Registered == nil || i.Registered.Rootfs != path || i.DiskBytes != info.Size() || i.SizeBytes == 0 {
		t.Errorf("registered %+v", i)
	}
	file, err := c.Disk(t.Context(), i.Digest, i.DiskBytes, silent)
	if err != nil || file != path {
		t.Errorf("a disk is made from %s, %v", file, err)
	}
	if base, err := c.Base(t.Context(), i.Digest, i.DiskBytes, silent); err != nil || base != path {
		t.Errorf("the base is %s, %v", base, err)
	}
	if _, err := c.Base(t.Context(), i.Digest, 2*i.DiskBytes, silent); err == nil {
		t.Error("a base of another size is found")
	}
	// The same again is the same image; another file under its name is not.
	again, err := register(t, c, "mine", path)
	if must(t, again, err).Digest != i.Digest {
		t.Errorf("again: %s", again.Digest)
	}
	if _, err := register(t, c, "mine", ext4File(t, c)); api.KindOf(err) != api.KindExists {
		t.Errorf("another file: %v", err)
	}
	if p, err := c.Prune(false, nobody, func(string) ([]int64, bool) { return nil, true }); err != nil || len(p.Removed) > 0 {
		t.Errorf("pruned %v, %v", p.Removed, err)
	}
	if err := c.Delete("mine", nobody); err != nil {
		t.Fatal(err)
	}
	if now, err := os.Stat(path); err != nil || !now.ModTime().Equal(info.ModTime()) {
		t.Errorf("the file: %v", err)
	}
	if all, err := c.List(); err != nil || len(all) > 0 {
		t.Errorf("left %v, %v", all, err)
	}
}

// TestRegisteredIsCheckedAgain: identity first, then the digest; what is told names the file.
func TestRegisteredIsCheckedAgain(t *testing.T) {
	c := open(t)
	path := ext4File(t, c)
	i, err := register(t, c, "mine", path)
	must(t, i, err)
	hex := digeststore.Hex(i.Digest)
	before, err := c.inPlace.registration(hex)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil { // the ctime, and nothing else
		t.Fatal(err)
	}
	if _, err := c.Base(t.Context(), i.Digest, i.DiskBytes, silent); err != nil {
		t.Fatal(err)
	}
	if after, err := c.inPlace.registration(hex); err != nil || after.Rootfs == before.Rootfs || after.Rootfs.SHA256 != before.Rootfs.SHA256 {
		t.Errorf("the new identity is not recorded: %+v, %v", after.Rootfs, err)
	}
	spoil(t, path)
	for what, err := range map[string]error{
		"base": second(c.Base(t.Context(), i.Digest, i.DiskBytes, silent)), "disk": second(c.Disk(t.Context(), i.Digest, i.DiskBytes, silent)),
		"export": second(c.Export(t.Context(), "mine", api.ExportExt4)), "copy": second(c.Promote(t.Context(), api.PromoteImage{Image: "mine"}, nobody, silent)),
	} {
		var changed *fileid.ChangedError
		if !errors.As(err, &changed) || changed.Path != path || !strings.Contains(api.AsError(err).Hint, "banger image register NAME --rootfs "+path) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// Registered again it is another image, and the record of the old one is gone with its name.
	now, err := register(t, c, "mine", path)
	if must(t, now, err).Digest == i.Digest {
		t.Error("another content is the same image")
	}
	if all, err := c.List(); err != nil || len(all) != 1 {
		t.Errorf("there are %v, %v", all, err)
	}
}

func second[T any](_ T, err error) error { return err }

// TestRegisterKeepsWhatAVMUses: the record of an image without a name stays while a VM uses it.
func TestRegisterKeepsWhatAVMUses(t *testing.T) {
	c := open(t)
	path := ext4File(t, c)
	i, err := register(t, c, "mine", path)
	must(t, i, err)
	spoil(t, path)
	used := func(digest string) []string {
		if digest == i.Digest {
			return []string{"dev"}
		}
		return nil
	}
	if _, err := c.Register(t.Context(), api.RegisterImage{Name: "mine", Rootfs: path}, nil, used, silent); err != nil {
		t.Fatal(err)
	}
	old, err := c.Get(i.Digest)
	if must(t, old, err); len(old.Names) > 0 {
		t.Errorf("it has the names %v", old.Names)
	}
}

func TestRegisterTogether(t *testing.T) {
	c := open(t)
	one, other := ext4File(t, c), ext4File(t, c)
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for n := range errs {
		wg.Go(func() {
			path := one
			if n%2 == 1 {
				path = other
			}
			_, errs[n] = c.Register(context.Background(), api.RegisterImage{Name: "mine", Rootfs: path}, nil, nobody, silent)
		})
	}
	wg.Wait()
	made := 0
	for _, err := range errs {
		if err == nil {
			made++
		} else if api.KindOf(err) != api.KindExists {
			t.Error(err)
		}
	}
	all, err := c.List()
	if err != nil || len(all) != 1 || made != 4 {
		t.Errorf("%d were registered, as %v, %v", made, all, err)
	}
}

func TestRegisterRefuses(t *testing.T) {
	c := open(t)
	path := ext4File(t, c)
	copied := func(name string, change func(path string) error) string {
		to := filepath.Join(filepath.Dir(path), name)
		if err := errors.Join(cloneFile(t.Context(), path, to, silent), change(to)); err != nil {
			t.Fatal(err)
		}
		return to
	}
	put := func(at int64, b byte) func(string) error {
		return func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte{b}, at)
			return errors.Join(err, f.Close())
		}
	}
	for _, w := range []struct{ path, says string }{
		{copied("mounted", put(1024+0x3A, 0)), "its file system is mounted, or was not unmounted"},
		{copied("big-endian", func(path string) error { return errors.Join(put(1024+0x38, 0xEF)(path), put(1024+0x39, 0x53)(path)) }), "it is not an ext4 file system"},
		{copied("cut", func(path string) error { return os.Truncate(path, mib) }), "its file system is cut off"},
		{copied("odd", func(path string) error {
			info, err := os.Stat(path)
			return errors.Join(err, os.Truncate(path, info.Size()+512))
		}), "a disk has a whole number of MiB"},
		{copied("empty", func(path string) error { return os.Truncate(path, 0) }), "it is empty"},
		{filepath.Join(filepath.Dir(path), "none", "none"), "cannot find its directory"},
	} {
		if _, err := register(t, c, "mine", w.path); err == nil || !strings.Contains(err.Error(), w.says) || !strings.Contains(err.Error(), w.path) {
			t.Errorf("%s: %v, wanted: %s", filepath.Base(w.path), err, w.says)
		}
	}
	for says, req := range map[string]api.RegisterImage{
		"is not a valid name for an image":           {Name: "No Name", Rootfs: path},
		"must be absolute":                           {Name: "x", Rootfs: "root.ext4"},
		"cannot register modules without":            {Name: "x", Rootfs: path, Modules: "/lib/modules"},
		"cannot use an initramfs of your own, /init": {Name: "x", Rootfs: path, Kernel: "/vmlinux", Initrd: "/init"},
	} {
		if err := c.CheckRegister(req); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, wanted: %s", err, says)
		}
	}
	if all, err := c.List(); err != nil || len(all) > 0 {
		t.Errorf("left %v, %v", all, err)
	}
}

// TestRegisteredKernel: its files are checked for VMs that have the kernel, and a change of the root file
// system while the kernel is made is noticed.
func TestRegisteredKernel(t *testing.T) {
	c := open(t)
	path, kernel := ext4File(t, c), filepath.Join(t.TempDir(), "vmlinux")
	if err := os.WriteFile(kernel, []byte("kernel"), 0o600); err != nil {
		t.Fatal(err)
	}
	make := func(context.Context, api.Report) (string, []fileid.File, error) {
		f, err := fileid.Open(kernel)
		if err != nil {
			return "", nil, err
		}
		defer f.Close()
		r, err := fileid.Record(t.Context(), kernel, f, nil)
		return "sha256:k", []fileid.File{r}, err
	}
	req := api.RegisterImage{Name: "mine", Rootfs: path, Kernel: kernel}
	i, err := c.Register(t.Context(), req, make, nobody, silent)
	must(t, i, err)
	if i.Kernel != "sha256:k" || i.Registered.Kernel != kernel {
		t.Errorf("registered %+v", i)
	}
	copied, err := c.Promote(t.Context(), api.PromoteImage{Image: "mine", Name: "copied"}, nobody, silent)
	if must(t, copied, err).Kernel != i.Kernel || copied.Registered != nil || !slices.Equal(copied.Names, []string{"copied"}) {
		t.Errorf("copied %+v", copied)
	}
	spoil(t, kernel)
	err = c.CheckKernel(t.Context(), i.Digest, i.Kernel, silent)
	if err == nil || !strings.Contains(err.Error(), kernel+" is not what it was") || !strings.Contains(api.AsError(err).Hint, "restore "+kernel) {
		t.Errorf("changed: %v", err)
	}
	for what, digests := range map[string][2]string{"another kernel": {i.Digest, "sha256:other"}, "the copy": {copied.Digest, i.Kernel}} {
		if err := c.CheckKernel(t.Context(), digests[0], digests[1], silent); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err = c.Register(t.Context(), req, func(context.Context, api.Report) (string, []fileid.File, error) {
		spoil(t, path)
		return make(t.Context(), silent)
	}, nobody, silent)
	if err == nil || !strings.Contains(err.Error(), "it changed while it was read") {
		t.Errorf("changed meanwhile: %v", err)
	}
}

// TestPromote: the copy has the content and the name, and needs the file no longer.
func TestPromote(t *testing.T) {
	c := open(t)
	path := ext4File(t, c)
	i, err := register(t, c, "mine", path)
	must(t, i, err)
	copied, err := c.Promote(t.Context(), api.PromoteImage{Image: "mine"}, nobody, silent)
	must(t, copied, err)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	file, err := c.Disk(t.Context(), copied.Digest, copied.DiskBytes, silent)
	if err != nil {
		t.Fatal(err)
	}
	sum, err := hashFile(t.Context(), file, silent)
	if err != nil || sum != i.Registered.RootfsSHA256 || "sha256:"+sum != copied.Digest {
		t.Errorf("it has the digest %s, %v", sum, err)
	}
	fsck(t, file)
	if all, err := c.List(); err != nil || len(all) != 1 || !slices.Equal(all[0].Names, []string{"mine"}) {
		t.Errorf("there are %v, %v", all, err)
	}
	if _, err := c.Promote(t.Context(), api.PromoteImage{Image: "mine"}, nobody, silent); api.KindOf(err) != api.KindConflict {
		t.Errorf("again: %v", err)
	}
}

// TestExportNoticesAChange: what was written while the file changed is not an image.
func TestExportNoticesAChange(t *testing.T) {
	c := open(t)
	path := ext4File(t, c)
	i, err := register(t, c, "mine", path)
	must(t, i, err)
	e, err := c.Export(t.Context(), "mine", api.ExportExt4)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	spoil(t, path)
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := e.Write(t.Context(), out); err == nil || !strings.Contains(err.Error(), path+" is not what it was") {
		t.Errorf("written: %v", err)
	}
	if info, err := out.Stat(); err != nil || info.Size() >= e.Size() {
		t.Errorf("it has its whole length, %d bytes, %v", info.Size(), err)
	}
}
