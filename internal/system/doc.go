// Package system installs banger as a service of this machine, and takes it away
// again: programs, directories, the install record, systemd's units. Every step
// can be repeated, so that what was interrupted is simply run again, and no step
// touches a running VM unless its caller asked for that.
package system

import (
	"context"
	"path/filepath"
	"time"

	"banger/internal/systemd"
)

// The units that are installed.
const (
	HelperUnit  = "bangerd-root.service"
	DaemonUnit  = "bangerd.service"
	RecoverUnit = "banger-update-recover.service" // at boot, after an update that power was lost in
)

// UpdateUnit is the transient service that the updater is: in nobody's cgroup but its
// own, and started again when it is killed.
const UpdateUnit = "banger-update.service"

// Manager is what is needed of systemd; *systemd.Bus is one.
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

// Answer is what a daemon says of itself.
type Answer struct {
	Version string
	Running int // VMs, where it knows
}

// Host is the machine. The fields are functions so that tests have a machine of
// their own.
type Host struct {
	Root string // where the file system begins: "/" but in tests
	UID  int    // who we are
	// Superuser is root's uid; tests, which may run as anybody, have another.
	Superuser int

	Connect   func(ctx context.Context) (Manager, error)
	Chown     func(path string, uid, gid int) error
	Getent    func(ctx context.Context, name string) (string, error) // a line of passwd(5) from elsewhere, or ""
	AskHelper func(ctx context.Context) (Answer, error)
	AskDaemon func(ctx context.Context) (Answer, error)
	// AskFirecracker asks the helper which Firecracker VMs get.
	AskFirecracker func(ctx context.Context) FirecrackerState
	// StopVMs asks the daemon to stop every VM.
	StopVMs func(ctx context.Context) error
	// RemoveTraces removes what the kernel may still hold with our names: links,
	// namespaces, firewall table, devices.
	RemoveTraces func(ctx context.Context) error
	Now          func() time.Time

	stopping time.Duration // in place of stopTime, for tests
}

// Build is the banger that is being installed.
type Build struct{ Version, Commit string }

// Report is told of each step as it begins.
type Report func(step string)

// path is where a path of the machine is for us.
func (h *Host) path(p string) string { return filepath.Join(h.Root, p) }
