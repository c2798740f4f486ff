package roothelper

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"sync"
	"time"

	"banger/api"
	"banger/internal/blockdev"
	"banger/internal/daemon/fcproc"
	"banger/internal/fsx"
	"banger/internal/network"
	"banger/internal/network/netns"
	"banger/internal/rootapi"
	"banger/internal/systemd"
)

// Blocks makes block devices; package blockdev does.
type Blocks interface {
	AttachSnapshot(ctx context.Context, id string, base, cow *os.File) (blockdev.Device, error)
	AttachPlain(ctx context.Context, id string, file *os.File) (blockdev.Device, error)
	Lookup(id string) (d blockdev.Device, found bool, err error)
	Detach(ctx context.Context, id string) error
	Status(id string) (blockdev.Usage, error)
	List() ([]blockdev.Object, error)
	Available() error
}

// Networks makes network namespaces and their links.
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

// Settings are what the installation's record says.
type Settings struct {
	UIDBase  int
	UIDCount int
	Outer    netip.Prefix // of the VMs' addresses towards the host
	// Programs of VMMs; looked for in the system's directories where empty.
	Firecracker, Jailer, QEMU string
	Self                      string // path of this program, which starts QEMU
}

// Helper carries out the verbs.
type Helper struct {
	Settings Settings
	Owner    int // user id
	Blocks   Blocks
	Networks Networks
	Firewall Firewall
	Units    Units
	Host     fcproc.Host
	Dirs     Dirs

	locks    locks
	common   common
	jailing  sync.Mutex // makes jails one at a time: each with a user id of its own
	booting  sync.Mutex // takes the place of one boot file at a time
	programs programs

	// In place of readyTime, startingTime and clearingTime, for tests.
	ready, starting, clearing time.Duration
}

// Dirs are where the helper keeps things; tests have their own.
type Dirs struct {
	Jails string
	Boot  string
	Run   string
}

// uid is the user and group id of a VM's VMM.
func (h *Helper) uid(slot int) int { return h.Settings.UIDBase + slot }

// owns tells whether a user id is one of the VMs'.
func (h *Helper) owns(uid uint32) bool {
	return int(uid) >= h.Settings.UIDBase && int(uid) < h.Settings.UIDBase+h.Settings.UIDCount
}

func (s *Server) hello() rootapi.HelloAnswer {
	return rootapi.HelloAnswer{Version: s.Version, PID: os.Getpid(), OwnerUID: s.Owner, Outer: s.Helper.Settings.Outer}
}

// diskError is fsx.DiskError for a failure of ours; a refusal keeps its kind and
// its hint.
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

// common is what belongs to no VM: the host's table and the kept boot files. What a
// VM that is being made relies on must not be taken away meanwhile, so those that
// use it share it, and clear has it to itself. A VM's lock is taken first: who
// shares this waits for no other request. boot-put does not share it, as the file
// that it reads may be in a file system of the owner's that never answers, and what
// clear takes from under it is brought again.
type common struct{ mu sync.RWMutex }

// use shares what is common, and returns what lets go of it.
func (c *common) use(ctx context.Context) (done func(), err error) {
	if err := tryUntil(ctx, c.mu.TryRLock); err != nil {
		return nil, api.Errorf(api.KindConflict, "all that belongs to no VM is being removed: %w", err).WithHint("try again")
	}
	return c.mu.RUnlock, nil
}

// own has what is common alone. Who waits for that keeps nobody from using it.
func (c *common) own(ctx context.Context) (done func(), err error) {
	if err := tryUntil(ctx, c.mu.TryLock); err != nil {
		return nil, api.Errorf(api.KindConflict, "a VM is being started or gets its network: %w", err).WithHint("try again")
	}
	return c.mu.Unlock, nil
}

// tryPause is how often a lock is tried, which is rarely held when it is asked for.
const tryPause = 10 * time.Millisecond

// tryUntil tries until it works or ctx ends: a sync.RWMutex by itself knows no end.
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
