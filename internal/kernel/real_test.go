package kernel

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/driver/qemu"
	"banger/internal/host/apt"
	"banger/internal/host/execx"
	"banger/internal/paths"
	"banger/test/harness"
)

// testCache opens the cache that all tests share, with the distribution's
// kernel in it.
func testCache(t *testing.T) (*Cache, api.Kernel) {
	t.Helper()
	if _, err := execx.LookPath("apt-get", ""); err != nil {
		t.Skip("NOT TESTED: the distribution's kernel, because this host has no apt-get")
	}
	dir, err := harness.Cache()
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := harness.Lock(harness.KernelLock)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	p := paths.Paths{Data: filepath.Join(dir, "data"), Cache: dir, Config: dir}
	c, err := Open(p, apt.New(p.Apt()))
	if err != nil {
		t.Fatal(err)
	}
	k, err := c.Pull(context.Background(), api.PullKernel{}, func(p api.Progress) {
		if !strings.HasPrefix(p.Message, "fetching") && !strings.HasPrefix(p.Message, "downloading") {
			t.Log(p.Message)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return c, k
}

func TestDistributionKernel(t *testing.T) {
	c, k := testCache(t)
	again, err := c.Get(k.Release)
	if err != nil || again.Digest != k.Digest {
		t.Errorf("by release: %v, %v", again, err)
	}
	t.Logf("%+v", k)
}

// TestProof imports kernels that are booted first: the distribution's, and the same
// with a module that cannot be loaded.
func TestProof(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: real guests")
	}
	for program, pkg := range map[string]string{"qemu-system-x86_64": "qemu-system-x86", "mke2fs": "e2fsprogs"} {
		if _, err := execx.LookPath(program, pkg); err != nil {
			t.Skipf("NOT TESTED: the trial of a kernel, because this host has no %s (package %s)", program, pkg)
		}
	}
	shared, k := testCache(t)
	agent, err := harness.Build(t.Context(), t.TempDir(), "banger-agent")
	must(t, err)
	hex := strings.TrimPrefix(k.Digest, "sha256:")
	m, err := shared.meta(hex)
	must(t, err)
	modules := t.TempDir()
	write(t, filepath.Join(modules, "modules.builtin"), []byte("kernel/fs/ext4/ext4.ko\n"))
	for _, name := range m.Modules {
		data, err := os.ReadFile(shared.store.Path(hex, modulesDir, name))
		must(t, err)
		write(t, filepath.Join(modules, "kernel", loadName(name)+".ko"), data)
	}
	dir := t.TempDir()
	p := paths.Paths{Data: filepath.Join(dir, "data"), Cache: filepath.Join(dir, "cache")}
	c, err := Open(p, nil)
	must(t, err)
	c.ProveWith(agent, qemu.New(p, qemu.Options{}).Prove)
	req := api.ImportKernel{Path: shared.store.Path(hex, vmlinuxFile), Modules: modules, Name: "proven"}
	if _, err := c.Import(t.Context(), req, func(p api.Progress) { t.Log(p.Message) }); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(modules, "kernel", "virtio_mmio.ko"), tinyModule("license=GPL\x00depends=\x00"))
	req.Name = "bad"
	_, err = c.Import(t.Context(), req, func(api.Progress) {})
	if api.KindOf(err) != api.KindInvalid || !strings.Contains(err.Error(), "virtio_mmio.ko") || !strings.Contains(api.AsError(err).Hint, "--modules") {
		t.Errorf("got %v", err)
	}
	if kernels, err := c.List(); err != nil || len(kernels) != 1 {
		t.Errorf("the cache has %v, %v", kernels, err)
	}
	if left, err := filepath.Glob(filepath.Join(p.Data, "*", "*", "trial*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
