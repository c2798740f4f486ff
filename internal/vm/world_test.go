package vm

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"banger/api"
	"banger/internal/disk"
	"banger/internal/disk/copy"
	"banger/internal/driver"
	"banger/internal/driver/fake"
	"banger/internal/guest"
	"banger/internal/guest/hostfiles"
	"banger/internal/op"
	"banger/internal/paths"
	"banger/internal/store"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	fake.GuestMain()
	goleak.VerifyTestMain(m)
}

// caches play the image and the kernel cache.
type caches struct {
	dir    string
	mu     sync.Mutex
	pulled bool
	fail   error         // of the next pull
	hold   chan struct{} // a pull waits for it, or for its context
	config *api.ImageConfig
	needs  int64 // the smallest disk; 0: 64 MiB

	registered *api.RegisteredFiles
	changed    error // of the registered base
	kernel     error // of the registered kernel
}

const digest = "sha256:1111111111111111111111111111111111111111111111111111111111111111"

type fakeImages struct{ *caches }

func (c fakeImages) Get(ref string) (api.Image, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ref == "tiny" || ref == "debian" && c.pulled {
		return api.Image{Digest: digest, DiskBytes: cmp.Or(c.needs, 64*mib), Config: c.config, Registered: c.registered}, nil
	}
	return api.Image{}, api.Errorf(api.KindNotFound, "no image named %q", ref)
}

func (c fakeImages) CanPull(name string) bool { return name == "debian" }

func (c fakeImages) Pull(ctx context.Context, req api.PullImage, _ api.Report) (api.Image, error) {
	if c.hold != nil {
		select {
		case <-c.hold:
		case <-ctx.Done():
			return api.Image{}, context.Cause(ctx)
		}
	}
	if c.fail != nil {
		return api.Image{}, c.fail
	}
	c.mu.Lock()
	c.pulled = true
	c.mu.Unlock()
	return c.Get(req.Name)
}

func (c fakeImages) Disk(_ context.Context, _ string, size int64, _ api.Report) (string, error) {
	path := filepath.Join(c.dir, "base")
	c.mu.Lock() // what others read is not written anew
	defer c.mu.Unlock()
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	return path, os.WriteFile(path, []byte("the image"), 0o600)
}

func (c fakeImages) CheckKernel(context.Context, string, string, api.Report) error { return c.kernel }

func (c fakeImages) Base(context.Context, string, int64, api.Report) (string, error) {
	if c.changed != nil {
		return "", c.changed
	}
	path := filepath.Join(c.dir, "base")
	if _, err := os.Stat(path); err != nil {
		return "", api.Errorf(api.KindNotFound, "the file is missing: %w", err)
	}
	return path, nil
}

func (c fakeImages) CheckName(name string) error {
	if strings.ToLower(name) == name {
		return nil
	}
	return api.Errorf(api.KindInvalid, "%q is no name for an image", name)
}

// Commit keeps the disk as a file of the name.
func (c fakeImages) Commit(ctx context.Context, name, digest, from string, _ api.Report, put func(context.Context, string) error) (api.Image, error) {
	if c.hold != nil {
		<-ctx.Done()
		return api.Image{}, context.Cause(ctx)
	}
	if err := put(ctx, filepath.Join(c.dir, name)); err != nil {
		return api.Image{}, err
	}
	return api.Image{Names: []string{name}, Digest: digest, Source: from}, nil
}

type fakeKernels struct{ *caches }

func (c fakeKernels) Get(ref string) (api.Kernel, error) {
	if ref == "custom" || ref == digest {
		return c.Default()
	}
	return api.Kernel{}, api.Errorf(api.KindNotFound, "no kernel named %q", ref)
}

func (c fakeKernels) Default() (api.Kernel, error) {
	return api.Kernel{Release: "0.0-fake", Digest: digest}, nil
}

func (c fakeKernels) Pull(context.Context, api.PullKernel, api.Report) (api.Kernel, error) {
	return c.Default()
}

func (c fakeKernels) Boot(context.Context, string, string) (string, string, error) {
	vmlinux, initramfs := filepath.Join(c.dir, "vmlinux"), filepath.Join(c.dir, "initramfs")
	for _, path := range []string{vmlinux, initramfs} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			return "", "", err
		}
	}
	return vmlinux, initramfs, nil
}

func (c fakeKernels) BootFull(ctx context.Context, digest, agent string) (string, string, error) {
	vmlinux, _, err := c.Boot(ctx, digest, agent)
	full := filepath.Join(c.dir, "full-initramfs")
	return vmlinux, full, errors.Join(err, os.WriteFile(full, nil, 0o600))
}

// world is a service with all it stands on, which can be left as a killed
// daemon leaves it, and entered again.
type world struct {
	t           testing.TB
	home        string
	caches      *caches
	bootTimeout time.Duration
	files       hostfiles.Wanted
	apply       func(api.CreateVM) (api.CreateVM, error)
	host        *host // nil in user mode
	*Service
	Ops   *op.Manager
	Paths paths.Paths
	store *store.Store
}

func newWorld(t testing.TB) *world { return newWorldOn(t, nil) }

// newWorldOn is newWorld in system mode.
func newWorldOn(t testing.TB, h *host) *world {
	w := &world{t: t, home: t.TempDir(), caches: &caches{dir: t.TempDir()}, bootTimeout: 10 * time.Second, host: h}
	w.enter()
	t.Cleanup(func() {
		w.cleanUp()
		w.leave()
	})
	return w
}

func (w *world) paths() paths.Paths { return paths.Paths{Data: w.home, Cache: w.home, Config: w.home} }

func (w *world) enter() {
	w.t.Helper()
	w.build()
	if err := w.Recover(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) build() {
	w.t.Helper()
	st, err := store.Open(context.Background(), filepath.Join(w.home, "banger.db"))
	if err != nil {
		w.t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	w.store, w.Ops, w.Paths = st, op.NewManager(st, log), w.paths()
	o := Options{
		Paths: w.Paths, Store: st, Ops: w.Ops,
		Images: fakeImages{w.caches}, Kernels: fakeKernels{w.caches},
		Drivers: []driver.Driver{fake.New(fake.Options{FaultFile: filepath.Join(w.home, "fault")})},
		Disks:   []disk.Driver{copy.New()},
		Version: "test", Logger: log,
		Defaults: func() (Defaults, error) {
			return Defaults{Image: "tiny", Driver: "fake", VCPUs: 1, MemoryBytes: 256 * mib, DiskBytes: 1 << 30,
				Grace: 10 * time.Second, BootTimeout: w.bootTimeout, Files: w.files, Apply: w.apply}, nil
		},
		Limits: Limits{VCPUs: 8, MemoryBytes: 4 << 30},
	}
	if w.host != nil {
		o.Host = w.host
	}
	w.Service = New(o)
	w.Service.idle.Pause = 100 * time.Millisecond
}

// setHost puts the service in system mode, with that host.
func (w *world) setHost(h Host) {
	w.table.System = true
	w.instances.DiskUsage = h.DiskUsage
	w.machines.Host, w.inventory.Host, w.Service.host.host = h, h, h
}

func (w *world) setStore(s Store) { w.table.Store, w.recovery.Store = s, s }

func (w *world) setOps(m *op.Manager) { w.Ops, w.ops.manager = m, m }

func (w *world) setImages(i Images) { w.Creator.images, w.disks.Images, w.Changer.images = i, i, i }

func (w *world) setKernels(k Kernels) { w.Creator.kernels, w.Starter.kernels = k, k }

// leave is what is left of a daemon that was killed: guests run on, operations
// are interrupted.
func (w *world) leave() {
	w.Ops.Close()
	w.Service.Close()
	w.store.Close()
}

// leaveIn is what is left of a daemon that was killed in a step of an operation on a VM, or in its undo. It
// returns when the next daemon has ended the operation.
func (w *world) leaveIn(kind, id, step string, undoing bool) {
	w.t.Helper()
	w.leaveOp(api.Operation{Kind: kind, Target: id, Step: step}, undoing)
}

// leaveOp is leaveIn for an operation with parameters.
func (w *world) leaveOp(left api.Operation, undoing bool) {
	w.t.Helper()
	w.leave()
	w.build()
	left.ID, left.Status = op.NewID(), api.OpRunning
	err := w.store.BeginOperation(w.t.Context(), left)
	if err == nil {
		err = w.store.EnterStep(w.t.Context(), left.ID, left.Step, undoing)
	}
	if err == nil {
		err = w.Recover(w.t.Context())
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.settleOps()
}

func (w *world) cleanUp() {
	all, err := w.List(context.Background())
	if err != nil {
		w.t.Error(err)
	}
	for _, v := range all {
		o, err := w.Delete(context.Background(), v.ID, true)
		// One that is shown to run may still be being recovered, for a moment.
		for end := time.Now().Add(20 * time.Second); api.KindOf(err) == api.KindConflict && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond)
			o, err = w.Delete(context.Background(), v.ID, true)
		}
		if err == nil {
			err = o.Wait(context.Background())
		}
		if err != nil {
			w.t.Errorf("cannot delete %s: %v", v.Name, err)
		}
	}
}

// remembered is how many things the service remembers of VMs beside their records.
func (w *world) remembered() int {
	count := func(lock sync.Locker, n func() int) int {
		lock.Lock()
		defer lock.Unlock()
		return n()
	}
	return count(&w.Remover.mu, func() int { return len(w.Remover.removing) }) +
		count(&w.Leases.mu, func() int { return len(w.Leases.held) + len(w.Leases.looks) }) +
		w.ops.turns.Held() +
		count(&w.ops.parts.mu, func() int { return len(w.ops.parts.of) })
}

func (w *world) fault(text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.home, "fault"), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// do waits for an operation and returns its error.
func (w *world) do(o *op.Op, err error) error {
	if err != nil {
		return err
	}
	return o.Wait(w.t.Context())
}

func (w *world) must(o *op.Op, err error) {
	w.t.Helper()
	if err := w.do(o, err); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) show(ref string) api.VM {
	w.t.Helper()
	v, err := w.Show(w.t.Context(), ref)
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// health proves that the guest answers through the service.
func (w *world) health(ref string) {
	w.t.Helper()
	c := guest.Client{Dial: dialer(w, ref)}
	if _, err := c.Health(w.t.Context()); err != nil {
		w.t.Errorf("%s does not answer: %v", ref, err)
	}
}

func dialer(w *world, ref string) guest.Dial {
	return func(ctx context.Context) (net.Conn, error) { return w.DialGuest(ctx, ref) }
}

// nothingLeft proves that no VM, directory or process is left, and nothing that the service knew of
// a VM.
func (w *world) nothingLeft() {
	w.t.Helper()
	for end := time.Now().Add(10 * time.Second); w.remembered() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("%d things are remembered of VMs that are gone", w.remembered())
		}
	}
	if all, _ := w.List(w.t.Context()); len(all) != 0 {
		w.t.Errorf("VMs are left: %+v", all)
	}
	if rows, _ := w.store.VMs(w.t.Context()); len(rows) != 0 {
		w.t.Errorf("rows are left: %+v", rows)
	}
	if left, _ := w.store.UnfinishedOperations(w.t.Context()); len(left) != 0 {
		w.t.Errorf("operations are left: %+v", left)
	}
	if dirs, _ := os.ReadDir(w.Paths.VMs()); len(dirs) != 0 {
		w.t.Errorf("directories are left: %v", dirs)
	}
}
