package kernel

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/digeststore"
	"banger/internal/host/fsx"
)

// TestKernelWithoutVsock imports one all the same: QEMU's guests need none.
func TestKernelWithoutVsock(t *testing.T) {
	c := newCache(t)
	root := t.TempDir()
	fakeTree(t, root, "x")
	modules := filepath.Join(root, "lib/modules", fakeRelease)
	must(t, os.RemoveAll(filepath.Join(modules, "kernel/vsock")))
	k, err := c.Import(t.Context(), api.ImportKernel{Path: filepath.Join(root, "boot/vmlinuz-"+fakeRelease), Modules: modules}, quiet)
	must(t, err)
	if got, want := order(t, c, k), strings.TrimSuffix(fakeOrder, " "+fakeVsock); got != want {
		t.Errorf("loaded in the order %s\nwant %s", got, want)
	}
}

// TestVsockBuiltIn: there is no module to load, and none is missing.
func TestVsockBuiltIn(t *testing.T) {
	c := newCache(t)
	root := t.TempDir()
	fakeTree(t, root, "x")
	modules := filepath.Join(root, "lib/modules", fakeRelease)
	must(t, os.RemoveAll(filepath.Join(modules, "kernel/vsock")))
	write(t, filepath.Join(modules, "modules.builtin"), []byte("kernel/fs/ext4/ext4.ko\nkernel/net/vmw_vsock/vmw_vsock_virtio_transport.ko\n"))
	k, err := c.Import(t.Context(), api.ImportKernel{Path: filepath.Join(root, "boot/vmlinuz-"+fakeRelease), Modules: modules}, quiet)
	must(t, err)
	if got, want := order(t, c, k), strings.TrimSuffix(fakeOrder, " "+fakeVsock); got != want {
		t.Errorf("loaded in the order %s\nwant %s", got, want)
	}
}

// older makes of a kernel what a banger that knew nothing of vsock had.
func older(t *testing.T, c *Cache, k api.Kernel) {
	t.Helper()
	hex := strings.TrimPrefix(k.Digest, "sha256:")
	m, err := c.meta(hex)
	must(t, err)
	m.Extraction = 0
	must(t, fsx.WriteJSON(c.store.Path(hex, digeststore.MetaFile), m))
}

// current fails the test unless the kernel's files were chosen by today's rules.
func current(t *testing.T, c *Cache, k api.Kernel) {
	t.Helper()
	m, err := c.meta(strings.TrimPrefix(k.Digest, "sha256:"))
	must(t, err)
	if m.Extraction != extraction {
		t.Errorf("the files were chosen by the rules %d, want %d", m.Extraction, extraction)
	}
}

// TestPullReplacesWhatAnOlderBangerKept: it boots as before until then.
func TestPullReplacesWhatAnOlderBangerKept(t *testing.T) {
	f, c := newFakeApt(t), newCache(t)
	k, err := c.Pull(t.Context(), api.PullKernel{}, quiet)
	must(t, err)
	older(t, c, k)
	if d, err := c.Default(); err != nil || d.Digest != k.Digest {
		t.Errorf("the default: %+v, %v", d, err)
	}
	var said []string
	again, err := c.Pull(t.Context(), api.PullKernel{}, func(p api.Progress) { said = append(said, p.Message) })
	must(t, err)
	current(t, c, again)
	if f.calls("download") != 2 || !strings.Contains(strings.Join(said, "\n"), "pulled by an older banger") {
		t.Errorf("%d downloads, said %q", f.calls("download"), said)
	}
	if _, err := c.Pull(t.Context(), api.PullKernel{}, quiet); err != nil || f.calls("download") != 2 {
		t.Errorf("then: %d downloads, %v", f.calls("download"), err)
	}
	nothingStaged(t, c)
}

// TestImportAgain: the files may be the same, what is said of them is new.
func TestImportAgain(t *testing.T) {
	c := newCache(t)
	k, err := importFake(t, c, "mine")
	must(t, err)
	older(t, c, k)
	again, err := importFake(t, c, "mine")
	must(t, err)
	if again.Digest != k.Digest {
		t.Errorf("another kernel: %+v", again)
	}
	current(t, c, again)
	if got := order(t, c, again); got != fakeOrder {
		t.Errorf("loaded in the order %s", got)
	}
}
