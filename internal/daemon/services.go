package daemon

import (
	"context"
	"log/slog"
	"net"

	"banger/api"
	"banger/internal/daemon/caches"
	"banger/internal/op"
	"banger/internal/paths"
)

// The daemon's interfaces to the VM service. A ref is a VM's name, or its id or an unambiguous
// beginning of it.

// VMs tells of VMs.
type VMs interface {
	List(ctx context.Context) ([]api.VM, error)
	Show(ctx context.Context, ref string) (api.VM, error)
	// Find returns the record of a VM immediately; Show also reads its disk usage.
	Find(ref string) (api.VM, error)
	// Wait returns once the VM no longer runs.
	Wait(ctx context.Context, ref string) (api.VM, error)
	// ConsolePath names the file that holds the output of the guest's console. done
	// is closed when no more output follows.
	ConsolePath(ctx context.Context, ref string) (path string, done <-chan struct{}, err error)
	// Leaks compares the host's objects with the known VMs.
	Leaks(ctx context.Context) (api.Leaks, error)
}

// Lifecycle makes, runs and removes VMs. Its methods begin operations.
type Lifecycle interface {
	Create(ctx context.Context, req api.CreateVM) (*op.Op, error)
	Start(ctx context.Context, ref string, req api.StartVM) (*op.Op, error)
	Restart(ctx context.Context, ref string, req api.StartVM) (*op.Op, error)
	Stop(ctx context.Context, ref string, req api.StopVM) (*op.Op, error)
	Kill(ctx context.Context, ref string) (*op.Op, error)
	Delete(ctx context.Context, ref string, force bool) (*op.Op, error)
	Prune(ctx context.Context) (*op.Op, error)
	// Commit creates an image from a stopped VM.
	Commit(ctx context.Context, ref string, req api.CommitVM) (*op.Op, error)
}

// Signals sends signals to VMMs, which begins operations.
type Signals interface {
	Signal(ctx context.Context, ref string, sig api.Signal) (*op.Op, error)
}

// Pauses pauses VMs and resumes them, and suspends them, which begins operations.
type Pauses interface {
	Pause(ctx context.Context, ref string) (*op.Op, error)
	Resume(ctx context.Context, ref string) (*op.Op, error)
	Suspend(ctx context.Context, ref string) (*op.Op, error)
}

// Snapshots makes snapshots of VMs, which begins operations, and keeps them. A ref of a snapshot is its name,
// or its id or an unambiguous beginning of it.
type Snapshots interface {
	Snapshot(ctx context.Context, vm string, req api.SnapshotVM) (*op.Op, error)
	List() ([]api.Snapshot, error)
	Show(ref string) (api.Snapshot, error)
	Delete(ref string) error
}

// Changes changes the records of VMs.
type Changes interface {
	Rename(ctx context.Context, ref, name string) (api.VM, error)
	Set(ctx context.Context, ref string, req api.SetVM) (api.VM, error)
	// Publish changes which ports are published.
	Publish(ctx context.Context, ref string, req api.PublishVM) (api.VM, error)
}

// Observer looks at VMs without changing them.
type Observer interface {
	// Stats returns what the named VMs use, or without a name all that run.
	Stats(ctx context.Context, refs []string) (api.StatsList, error)
	// Health looks at each part of a VM.
	Health(ctx context.Context, ref string) (api.VMHealth, error)
}

// Guests reaches the guests of running VMs.
type Guests interface {
	// DialGuest opens a new channel to the guest's agent. Closing its writing
	// half (CloseWrite) leaves the reading half open.
	DialGuest(ctx context.Context, ref string) (net.Conn, error)
	// Sessions lists the sessions in the guest.
	Sessions(ctx context.Context, ref string) ([]api.Session, error)
	// SyncFiles copies the files that the settings name into the guest.
	SyncFiles(ctx context.Context, ref string) (api.SyncedFiles, error)
	// SSHAccess returns what a client needs to connect to a running VM by SSH.
	SSHAccess(ctx context.Context, ref string) (api.SSHAccess, error)
}

// Leases keeps VMs that exist only as long as they have clients.
type Leases interface {
	// Lease holds a VM's lease until giveBack is called.
	Lease(ref string) (giveBack func(), err error)
	// EndLease removes a VM's lease.
	EndLease(ctx context.Context, ref string) error
}

// Operations is the daemon's interface to the operation manager.
type Operations interface {
	Get(id string) (*op.Op, error)
	List() []api.Operation
	Cancel(id string) error
}

// Services are the services that answer requests.
type Services struct {
	VMs        VMs
	Lifecycle  Lifecycle
	Signals    Signals
	Pauses     Pauses
	Snapshots  Snapshots
	Changes    Changes
	Guests     Guests
	Observer   Observer
	Leases     Leases // may be nil
	Caches     caches.Caches
	Operations Operations
	Doctor     func(ctx context.Context) []api.Check
	// Degraded returns why work may not be recorded, or "" if it can. It may be nil.
	Degraded func() string
	// Answers records the answers to requests with a key. It may be nil.
	Answers Answers
	// Config returns the current settings: all, or those of a new VM of a profile and an image, if
	// one of the two is not empty.
	Config func(profile, image string) (api.Config, error)
	// Recover finds the machines of an earlier daemon and finishes or undoes its
	// operations. Requests wait for it.
	Recover func(ctx context.Context) error
	// Detach interrupts operations and closes the links to the guests' agents,
	// which keep their sessions for the next daemon. It may be nil.
	Detach func()
	// Close releases everything. Guests keep running.
	Close func() error
}

// Answers records the answers to requests with a key that are not operations.
type Answers interface {
	Answer(ctx context.Context, request string) ([]byte, error)
	PutAnswer(ctx context.Context, request string, answer []byte) error
}

// Env is the environment that services are built in.
type Env struct {
	Paths  paths.Paths
	System bool // this machine's daemon, with bangerd-root beside it
	Log    *slog.Logger
	Memory int64 // the host's, in bytes, which bounds the streams; 0: as reported by the kernel
}

// Program is cmd/bangerd's part of the daemon: the only place that names concrete drivers.
type Program struct {
	Version string
	Commit  string
	// Build opens the store and makes the services. It touches no machine.
	Build func(ctx context.Context, env Env) (*Services, error)
}
