package qemu_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"banger/api"
	"banger/internal/disk"
	"banger/internal/disk/qcow2"
	"banger/internal/driver"
	"banger/internal/driver/drivertest"
	"banger/internal/driver/qemu"
	"banger/internal/guest/agentproto"
	"banger/internal/host/apt"
	"banger/internal/host/execx"
	"banger/internal/kernel"
	"banger/internal/paths"
	"banger/test/harness"
)

func TestMain(m *testing.M) {
	qemu.Main()
	saveMain()
	drivertest.StarterMain(func() driver.Driver {
		return qemu.New(paths.Paths{Cache: os.TempDir()}, qemu.Options{Accel: qemu.TCG})
	})
	goleak.VerifyTestMain(m)
}

// boot is what a real guest boots from.
type boot struct{ vmlinux, initramfs string }

// bootFiles gets the distribution's kernel into the tests' cache, once, and
// makes an initramfs with the agent as it is now.
var bootFiles = sync.OnceValues(func() (boot, error) {
	cache, err := harness.Cache()
	if err != nil {
		return boot{}, err
	}
	unlock, err := harness.Lock(harness.KernelLock)
	if err != nil {
		return boot{}, err
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	agent, err := harness.Build(ctx, cache, "banger-agent")
	if err != nil {
		return boot{}, err
	}
	p := paths.Paths{Data: filepath.Join(cache, "data"), Cache: cache}
	kernels, err := kernel.Open(p, apt.New(p.Apt()))
	if err != nil {
		return boot{}, err
	}
	k, err := kernels.Pull(ctx, api.PullKernel{}, func(p api.Progress) { fmt.Println(p.Message) })
	if err != nil {
		return boot{}, err
	}
	vmlinux, initramfs, err := kernels.Boot(ctx, k.Digest, agent)
	return boot{vmlinux, initramfs}, err
})

func newDriver(t *testing.T) driver.Driver {
	return qemu.New(paths.Paths{Cache: t.TempDir()}, qemu.Options{Accel: qemu.TCG})
}

// spec returns a guest with an empty root file system on an overlay: the agent
// brings all it needs.
func spec(t *testing.T, id string) driver.Spec {
	t.Helper()
	return specOf(t, id)
}

func specOf(t testing.TB, id string) driver.Spec {
	t.Helper()
	files, err := bootFiles()
	if err != nil {
		t.Fatalf("cannot prepare a guest: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "odd, name=x")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	base := filepath.Join(dir, "base")
	err = execx.Run(t.Context(), execx.Cmd{Name: "mke2fs", Args: []string{"-q", "-t", "ext4", base, "16M"}, Package: "e2fsprogs"})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, paths.VMDisk)
	if err := qcow2.New().Create(t.Context(), disk.Spec{Base: base, Path: file}); err != nil {
		t.Fatal(err)
	}
	cmdline, err := agentproto.Boot{Hostname: "test", Root: "/dev/vda"}.Cmdline()
	if err != nil {
		t.Fatal(err)
	}
	return driver.Spec{
		ID: id, Dir: dir, VCPUs: 1, MemoryBytes: 256 << 20,
		Kernel: files.vmlinux, Initramfs: files.initramfs, Cmdline: agentproto.BaseCmdline + " " + cmdline,
		Disk: file, DiskFormat: disk.Qcow2, Accel: qemu.TCG,
	}
}

func TestContract(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: real guests")
	}
	drivertest.Run(t, drivertest.Harness{
		New: newDriver, Spec: spec, BootTime: time.Minute,
		Refused: map[string]func(*testing.T, *driver.Spec) driver.Driver{
			"missing kernel": func(t *testing.T, s *driver.Spec) driver.Driver {
				s.Kernel = filepath.Join(s.Dir, "absent")
				return newDriver(t)
			},
			"kernel is none": func(t *testing.T, s *driver.Spec) driver.Driver {
				s.Kernel = filepath.Join(s.Dir, paths.VMDisk)
				return newDriver(t)
			},
			"missing disk": func(t *testing.T, s *driver.Spec) driver.Driver {
				s.Disk = filepath.Join(s.Dir, "absent")
				return newDriver(t)
			},
			"missing program": func(t *testing.T, _ *driver.Spec) driver.Driver {
				return qemu.New(paths.Paths{Cache: t.TempDir()}, qemu.Options{Accel: qemu.TCG, Binary: "no-such-qemu"})
			},
			"too much memory": func(t *testing.T, s *driver.Spec) driver.Driver {
				s.MemoryBytes = 1 << 50
				return newDriver(t)
			},
			"bad id": func(t *testing.T, s *driver.Spec) driver.Driver {
				s.ID = "x,accel=kvm"
				return newDriver(t)
			},
		},
	})
}
