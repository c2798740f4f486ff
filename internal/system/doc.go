// Package system installs and uninstalls banger as a service of this machine: programs,
// directories, the install record, systemd's units. Every step can be repeated, so an
// interrupted run is simply run again, and no step touches a running VM unless its
// caller asks for it.
package system

import (
	"context"
	"time"

	"banger/internal/host/systemd"
)

// The names of the installed units.
const (
	HelperUnit  = "bangerd-root.service"
	DaemonUnit  = "bangerd.service"
	RecoverUnit = "banger-update-recover.service" // at boot, after an update that a power loss interrupted
)

// UpdateUnit is the transient service that runs the updater: it has its own cgroup, and
// is started again if it is killed.
const UpdateUnit = "banger-update.service"

// Manager contains the used methods of systemd; *systemd.Bus implements it.
type Manager interface {
	Reload(ctx context.Context) error
	Enable(ctx context.Context, units ...string) error
	Disable(ctx context.Context, units ...string) error
	Restart(ctx context.Context, unit string) error
	Stop(ctx context.Context, unit string) error
	ResetFailed(ctx context.Context, unit string) error
	State(ctx context.Context, unit string) (systemd.State, error)
	List(ctx context.Context, pattern string) ([]systemd.UnitStatus, error)
}

// Answer is what a daemon reports about itself.
type Answer struct {
	Version string
	Running int // running VMs, if known
}

// Host is the machine. The fields are functions so that tests can replace them.
type Host struct {
	Root string // the root of the file system: "/" except in tests
	UID  int    // the caller's user id
	// Superuser is root's uid; tests, which may run as any user, set another.
	Superuser int

	Connect   func(ctx context.Context) (Manager, error)
	Chown     func(path string, uid, gid int) error
	Getent    func(ctx context.Context, name string) (string, error) // a line of passwd(5) from another source, or ""
	AskHelper func(ctx context.Context) (Answer, error)
	AskDaemon func(ctx context.Context) (Answer, error)
	// AskFirecracker asks the helper which Firecracker VMs use.
	AskFirecracker func(ctx context.Context) FirecrackerState
	// AskNames asks the helper whether names of VMs resolve on this host.
	AskNames func(ctx context.Context) NamesState
	// StopVMs asks the daemon to stop every VM.
	StopVMs func(ctx context.Context) error
	// RemoveTraces removes the kernel's objects with banger's names: links, namespaces,
	// firewall table, devices.
	RemoveTraces func(ctx context.Context) error
	Now          func() time.Time

	stopping time.Duration // replaces stopTime in tests
}

// Build is the version of banger that is being installed.
type Build struct{ Version, Commit string }

// Report receives each step as it starts.
type Report func(step string)
