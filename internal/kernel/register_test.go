package kernel

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"banger/api"
)

// TestRegister: a kernel of a registered image has no name and is no default, and its files are recorded: those
// that were read, the kernel first.
func TestRegister(t *testing.T) {
	c := newCache(t)
	root, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	fakeTree(t, root, "own")
	req := api.ImportKernel{Path: filepath.Join(root, "boot/vmlinuz-"+fakeRelease), Modules: filepath.Join(root, "lib/modules", fakeRelease)}
	k, files, err := c.Register(t.Context(), req, quiet)
	must(t, err)
	if len(k.Names) > 0 || k.Release != fakeRelease {
		t.Errorf("made %+v", k)
	}
	if _, err := c.Default(); api.KindOf(err) != api.KindNotFound {
		t.Errorf("the default: %v", err)
	}
	var paths []string
	for _, f := range files {
		paths = append(paths, f.Path)
	}
	if paths[0] != req.Path || !slices.Contains(paths, req.Modules+"/modules.builtin") || !slices.Contains(paths, req.Modules+"/kernel/virtio/virtio_mmio.ko") {
		t.Errorf("recorded %v", paths)
	}
	imported, err := c.Import(t.Context(), api.ImportKernel{Path: req.Path, Modules: req.Modules, Name: "same"}, quiet)
	must(t, err)
	if imported.Digest != k.Digest {
		t.Errorf("imported it is %s, not %s", imported.Digest, k.Digest)
	}
	link := filepath.Join(root, "link")
	must(t, os.Symlink(req.Path, link))
	if _, _, err := c.Register(t.Context(), api.ImportKernel{Path: link}, quiet); err == nil || !strings.Contains(err.Error(), link+": it is a symbolic link") {
		t.Errorf("a link: %v", err)
	}
}
