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
	StartTransient(ctx context.Context, u systemd.Unit) error
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
	jailing  sync.Mutex // makes jails one at a time: each with a user id of its own
	programs programs

	// In place of readyTime and startingTime, for tests.
	ready, starting time.Duration
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
