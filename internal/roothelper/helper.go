package roothelper

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"sync"
	"time"

	"banger/api"
	"banger/internal/daemon/fcproc"
	"banger/internal/host/blockdev"
	"banger/internal/host/fsx"
	"banger/internal/host/network"
	"banger/internal/host/network/netns"
	"banger/internal/host/systemd"
	"banger/internal/rootapi"
)

// Blocks creates block devices. Package blockdev implements it.
type Blocks interface {
	AttachSnapshot(ctx context.Context, id string, base, cow *os.File) (blockdev.Device, error)
	AttachPlain(ctx context.Context, id string, file *os.File) (blockdev.Device, error)
	Lookup(id string) (d blockdev.Device, found bool, err error)
	Detach(ctx context.Context, id string) error
	Status(id string) (blockdev.Usage, error)
	List() ([]blockdev.Object, error)
	Available() error
}

// Networks creates network namespaces and their links.
type Networks interface {
	Attach(ctx context.Context, p network.Plan) error
	AttachNone(ctx context.Context, id string) error
	Detach(ctx context.Context, id string) error
	List() ([]netns.Object, error)
}

// Units starts and ends units of systemd.
type Units interface {
	StartHeld(ctx context.Context, u systemd.Unit) (forget func(), err error)
	State(ctx context.Context, name string) (systemd.State, error)
	MainPID(ctx context.Context, name string) (int, error)
	Stop(ctx context.Context, name string) error
	List(ctx context.Context, pattern string) ([]systemd.UnitStatus, error)
}

// Settings are the settings in the installation's record.
type Settings struct {
	UIDBase  int
	UIDCount int
	Outer    netip.Prefix // of the VMs' addresses on the host's side
	// Programs of VMMs; an empty one is searched for in the system's directories.
	Firecracker, Jailer, QEMU string
	Self                      string // path of this program, which starts QEMU
}

// uid returns the user and group id of a VM's VMM.
func (s Settings) uid(slot int) int { return s.UIDBase + slot }

// owns reports whether a user id is one of the VMs'.
func (s Settings) owns(uid uint32) bool {
	return int(uid) >= s.UIDBase && int(uid) < s.UIDBase+s.UIDCount
}

// Helper carries out the verbs.
type Helper struct {
	Settings Settings
	Owner    int // user id
	Blocks   Blocks
	Networks Networks
	Firewall Firewall
	Names    Names
	Units    Units
	Host     fcproc.Host
	Dirs     Dirs

	locks    locks
	shared   sharedLock
	jailing  sync.Mutex // serializes the creation of jails: each has a different user id
	booting  sync.Mutex // serializes the allocation of boot files
	programs programs

	// Replace readyTime, startingTime and clearingTime in tests.
	ready, starting, clearing time.Duration
}

// Dirs are the helper's directories; tests use others.
type Dirs struct {
	Jails string
	Boot  string
	Run   string
}

func (s *Server) hello() rootapi.HelloAnswer {
	return rootapi.HelloAnswer{Version: s.Version, PID: os.Getpid(), OwnerUID: s.Owner, Outer: s.Helper.Settings.Outer}
}

// diskError is fsx.DiskError, except for refusals, which keep their kind and hint.
func diskError(verb string, err error) error {
	var refused *api.Error
	if errors.As(err, &refused) {
		return err
	}
	return fsx.DiskError(verb, err)
}

// locks lets one request at a time work on a VM.
type locks struct {
	mu   sync.Mutex
	held map[string]*held
}

type held struct {
	mu    sync.Mutex
	users int
}

// lock takes the VM's lock and returns what releases it.
func (l *locks) lock(id string) (unlock func()) {
	l.mu.Lock()
	if l.held == nil {
		l.held = map[string]*held{}
	}
	one := l.held[id]
	if one == nil {
		one = &held{}
		l.held[id] = one
	}
	one.users++
	l.mu.Unlock()
	one.mu.Lock()
	return func() {
		one.mu.Unlock()
		l.mu.Lock()
		defer l.mu.Unlock()
		if one.users--; one.users == 0 {
			delete(l.held, id)
		}
	}
}

// sharedLock guards the objects that are shared by all VMs: the host's firewall table and
// the stored boot files. They must not be removed while a VM that needs them is being
// created, so requests that use them share the lock, and clear locks it exclusively. A VM's
// lock is taken first: a request that shares this lock does not wait for another request.
// boot-put does not share it, because the file that it reads may be in a file system of the
// owner that never answers; files that clear removes during it are sent again.
type sharedLock struct{ mu sync.RWMutex }

// use locks it shared, and returns a function that unlocks it.
func (c *sharedLock) use(ctx context.Context) (done func(), err error) {
	if err := tryUntil(ctx, c.mu.TryRLock); err != nil {
		return nil, api.Errorf(api.KindConflict, "objects that are shared by all VMs are being removed: %w", err).WithHint("try again")
	}
	return c.mu.RUnlock, nil
}

// own locks it exclusively. A request that waits for that does not block those that use it.
func (c *sharedLock) own(ctx context.Context) (done func(), err error) {
	if err := tryUntil(ctx, c.mu.TryLock); err != nil {
		return nil, api.Errorf(api.KindConflict, "a VM is being started or gets its network: %w", err).WithHint("try again")
	}
	return c.mu.Unlock, nil
}

// tryPause is the pause between two tries to lock. The lock is rarely held.
const tryPause = 10 * time.Millisecond

// tryUntil tries until it succeeds or ctx ends: a sync.RWMutex has no timeout.
func tryUntil(ctx context.Context, try func() bool) error { return tryEvery(ctx, tryPause, try) }

func tryEvery(ctx context.Context, pause time.Duration, try func() bool) error {
	for !try() {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
