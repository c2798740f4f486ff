package jailed_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"banger/api"
	"banger/internal/buildinfo"
	"banger/internal/disk"
	"banger/internal/disk/dmsnap"
	"banger/internal/driver"
	"banger/internal/driver/drivertest"
	"banger/internal/driver/jailed"
	"banger/internal/driver/qemu"
	"banger/internal/guest/agentproto"
	"banger/internal/host/apt"
	"banger/internal/host/execx"
	"banger/internal/kernel"
	"banger/internal/paths"
	"banger/internal/rootapi"
	"banger/test/harness/session"
)

// driverEnv says which driver a process of drivertest.StarterMain has.
const driverEnv = "BANGER_TEST_JAILED_DRIVER"

// TestMain runs the tests as the owner of an installed banger, whose bangerd-root
// they use: files of VMs have to be the owner's.
func TestMain(m *testing.M) {
	if status, ran := session.AsOwner(); ran {
		os.Exit(status)
	}
	drivertest.StarterMain(func() driver.Driver { return newDriver(os.Getenv(driverEnv), os.TempDir()) })
	goleak.VerifyTestMain(m)
}

func bangerdRoot() *rootapi.Client {
	return &rootapi.Client{Socket: paths.RootSocket, Version: buildinfo.Get().Version, Patience: 5 * time.Second}
}

func newDriver(name, cache string) driver.Driver {
	boot := jailed.NewBootFiles(filepath.Join(cache, "boot.json"))
	if name == rootapi.Firecracker {
		return jailed.NewFirecracker(bangerdRoot(), boot)
	}
	user := qemu.New(paths.Paths{Cache: cache}, qemu.Options{Accel: qemu.KVM})
	return jailed.NewQEMU(bangerdRoot(), boot, user, user.Clock)
}

// bootFiles are this machine's own kernel and an initramfs with the installed agent.
var bootFiles = sync.OnceValues(func() ([2]string, error) {
	dir, err := os.MkdirTemp("", "banger-contract-") // below AsOwner's
	if err != nil {
		return [2]string{}, err
	}
	p := paths.Paths{Data: filepath.Join(dir, "data"), Cache: dir}
	kernels, err := kernel.Open(p, apt.New(p.Apt()))
	if err != nil {
		return [2]string{}, err
	}
	ctx := context.Background()
	k, err := kernels.Import(ctx, api.ImportKernel{Host: true, Name: "host"}, func(api.Progress) {})
	if err != nil {
		return [2]string{}, err
	}
	vmlinux, initramfs, err := kernels.Boot(ctx, k.Digest, filepath.Join(paths.Programs, "current", "banger-agent"))
	return [2]string{vmlinux, initramfs}, err
})

// slots are far from those that a daemon gives.
var slots = map[string]int{"00000000000a": 16000, "00000000000b": 16001}

// spec returns a guest with an empty root file system, whose disk and network the
// helper has attached.
func spec(t *testing.T, id string) driver.Spec {
	t.Helper()
	files, err := bootFiles()
	if err != nil {
		t.Fatalf("cannot prepare a guest: %v", err)
	}
	dir := t.TempDir()
	base, cow := filepath.Join(dir, "base"), filepath.Join(dir, paths.VMDisk)
	err = execx.Run(t.Context(), execx.Cmd{Name: "mke2fs", Args: []string{"-q", "-t", "ext4", base, "16M"}, Package: "e2fsprogs"})
	if err != nil {
		t.Fatal(err)
	}
	snapshots := dmsnap.New(func(context.Context) error { return nil })
	if err := snapshots.Create(t.Context(), disk.Spec{Base: base, Path: cow}); err != nil {
		t.Fatal(err)
	}
	release(t, id) // that of the machine before
	attachDisk(t, id, base, cow)
	attachNetwork(t, id)
	t.Cleanup(func() { release(t, id) })
	cmdline, err := agentproto.Boot{Hostname: "test", Root: "/dev/vda"}.Cmdline()
	if err != nil {
		t.Fatal(err)
	}
	return driver.Spec{
		ID: id, Dir: dir, VCPUs: 1, MemoryBytes: 192 << 20, Kernel: files[0], Initramfs: files[1],
		Cmdline: agentproto.BaseCmdline + " " + cmdline, Disk: cow, DiskFormat: snapshots.Format(),
		Accel: "kvm", Slot: slots[id],
	}
}

func ask(t *testing.T, call rootapi.Call, files ...*os.File) {
	t.Helper()
	if _, err := bangerdRoot().Do(context.Background(), call, nil, files...); err != nil {
		t.Fatalf("%s: %v", call.Verb(), err)
	}
}

func attachDisk(t *testing.T, id, base, cow string) {
	t.Helper()
	image, err := os.Open(base)
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	own, err := os.OpenFile(cow, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	ask(t, rootapi.DiskAttachCall{VM: rootapi.VM{ID: id}, Mode: rootapi.Snapshot}, image, own)
}

func attachNetwork(t *testing.T, id string) {
	t.Helper()
	ask(t, rootapi.NetAttachCall{VM: rootapi.VM{ID: id}, Slot: slots[id]})
}

func release(t *testing.T, id string) {
	t.Helper()
	ask(t, rootapi.VMReleaseCall{VM: rootapi.VM{ID: id}})
}

func TestContractFirecracker(t *testing.T) { contract(t, rootapi.Firecracker) }

func TestContractQEMU(t *testing.T) { contract(t, rootapi.QEMU) }

func contract(t *testing.T, name string) {
	if os.Getenv(session.SystemEnv) == "" {
		t.Skipf("needs a machine whose installed banger is there for tests, and %s=1: the lab host is one", session.SystemEnv)
	}
	newDriver := func(t *testing.T) driver.Driver { return newDriver(name, t.TempDir()) }
	if _, err := newDriver(t).Probe(t.Context(), "", ""); err != nil {
		t.Skipf("this machine lacks what it takes: %v", err)
	}
	t.Setenv(driverEnv, name)
	spoil := func(how func(t *testing.T, s *driver.Spec)) func(*testing.T, *driver.Spec) driver.Driver {
		return func(t *testing.T, s *driver.Spec) driver.Driver {
			how(t, s)
			return newDriver(t)
		}
	}
	drivertest.Run(t, drivertest.Harness{
		New: newDriver, Spec: spec, BootTime: 3 * time.Minute, System: true,
		Moments: []time.Duration{0, 5 * time.Millisecond, 100 * time.Millisecond, 400 * time.Millisecond, time.Second},
		Refused: map[string]func(*testing.T, *driver.Spec) driver.Driver{
			"missing kernel": spoil(func(_ *testing.T, s *driver.Spec) { s.Kernel = filepath.Join(s.Dir, "absent") }),
			"kernel is none": spoil(func(_ *testing.T, s *driver.Spec) { s.Kernel = filepath.Join(s.Dir, "base") }),
			"no disk": spoil(func(t *testing.T, s *driver.Spec) {
				release(t, s.ID)
				attachNetwork(t, s.ID)
			}),
			"no network": spoil(func(t *testing.T, s *driver.Spec) {
				release(t, s.ID)
				attachDisk(t, s.ID, filepath.Join(s.Dir, "base"), s.Disk)
			}),
			"too much memory": spoil(func(_ *testing.T, s *driver.Spec) { s.MemoryBytes = 1 << 50 }),
			"no slot":         spoil(func(_ *testing.T, s *driver.Spec) { s.Slot = 0 }),
			"no directory":    spoil(func(_ *testing.T, s *driver.Spec) { s.Dir = filepath.Join(s.Dir, "absent") }),
			"no helper": func(t *testing.T, _ *driver.Spec) driver.Driver {
				absent := &rootapi.Client{Socket: filepath.Join(paths.RootRun, "absent.sock"), Version: "test"}
				return jailed.NewFirecracker(absent, jailed.NewBootFiles(filepath.Join(t.TempDir(), "boot.json")))
			},
		},
	})
	for id := range slots {
		release(t, id)
	}
}
