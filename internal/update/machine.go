// Package update replaces banger with another version while guests run, proves the new
// version, and rolls back if the proof fails. Every step is in the journal before it is
// started (package journal), so that the update may be interrupted at any moment.
package update

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"banger/api"
	"banger/internal/commands"
	"banger/internal/host/fsx"
	"banger/internal/host/proc"
	"banger/internal/paths"
	"banger/internal/update/journal"
	"banger/internal/update/programs"
)

// Place holds the paths of an installation's programs and of its updates' state.
type Place struct {
	System bool
	Prefix string // holds versions/VERSION and the link "current"
	Bin    string // holds the links of the commands; empty: there are none of this installation
	State  string // the journal's directory
	Hold   string // exists while an update is being proven
	Data   string
	Owner  int // user id of the daemon, in system mode
}

const (
	versionsDir  = "versions"
	currentLink  = "current"
	updatingLink = "updating" // points to the version that updates and, if necessary, recovers
	stagePrefix  = ".stage-"
)

// SystemPlace returns the place of this machine's installation.
func SystemPlace() Place { return placeOf(paths.System(), paths.Programs) }

// UserPlace returns the place of a user's own installation, with programs below prefix.
func UserPlace(p paths.Paths, prefix string) Place { return placeOf(p, prefix) }

func placeOf(p paths.Paths, prefix string) Place {
	return Place{System: p.Managed, Prefix: prefix, Bin: commands.Dir(prefix), State: p.Update(), Hold: p.Hold(), Data: p.Data}
}

// Dir returns the directory of a version's programs.
func (p Place) Dir(v string) string { return filepath.Join(p.Prefix, versionsDir, v) }

// VM returns the directory of a VM, which exists as long as the VM does.
func (p Place) VM(id string) string { return paths.Paths{Data: p.Data}.VM(id) }

// Current returns the version that the link points at, or "".
func (p Place) Current() string {
	target, err := os.Readlink(filepath.Join(p.Prefix, currentLink))
	if err != nil || filepath.Dir(target) != versionsDir {
		return ""
	}
	return filepath.Base(target)
}

// link makes the link point at a version.
func (p Place) link(version string) error {
	return fsx.DiskError("switch to version "+version, fsx.Relink(filepath.Join(versionsDir, version), filepath.Join(p.Prefix, currentLink)))
}

// Journal returns the path of the journal of an unfinished update.
func (p Place) Journal() string { return filepath.Join(p.State, journal.File) }

// Last returns the path of the outcome of the newest finished update.
func (p Place) Last() string { return filepath.Join(p.State, journal.Last) }

// Log returns the path of the newest update's log.
func (p Place) Log() string { return filepath.Join(p.State, journal.Log) }

// command returns what to type to update this installation.
func (p Place) command() string {
	if p.System {
		return "sudo banger update"
	}
	return "banger update"
}

func (p Place) lock() string         { return filepath.Join(p.State, journal.Lock) }
func (p Place) previousFile() string { return filepath.Join(p.State, journal.Previous) }

// File is a file of systemd or udev as a version needs it.
type File struct {
	Path string `json:"path"`
	Text string `json:"text"`
}

// Deps are what an update needs of the machine besides files: functions, so that tests
// can replace them. dir is a directory of programs. What reports a version and its
// files runs as the current user, the rest as the owner.
type Deps struct {
	Version    func(ctx context.Context, dir string) (string, error)
	Migrations func(ctx context.Context, dir string) (programs.Schema, error)
	Files      func(ctx context.Context, dir string) ([]File, error)
	Commands   func(ctx context.Context, dir string) ([]string, error) // names of links
	BackUp     func(ctx context.Context, dir, name string) error
	Restore    func(ctx context.Context, dir, name string) error

	// StopDaemon and StopAll return when the processes have ended; they succeed if none
	// runs. StartHelper starts or restarts the root helper, and Start starts the daemon
	// from a directory of programs; they return when it answers.
	StopDaemon  func(ctx context.Context) error
	StopAll     func(ctx context.Context) error
	StartHelper func(ctx context.Context) error
	Start       func(ctx context.Context, dir string) error
	// Reload makes systemd read its files again, and enables and disables units.
	Reload func(ctx context.Context, enable, disable []string) error
	// Daemons returns the pids of both daemons.
	Daemons func(ctx context.Context) ([]int, error)

	// Answers returns the versions that the daemons report.
	Answers    func(ctx context.Context) ([]string, error)
	Operations func(ctx context.Context) ([]api.Operation, error)
	VMs        func(ctx context.Context) ([]api.VM, error)
	Doctor     func(ctx context.Context) ([]api.Check, error)
	Exec       func(ctx context.Context, id string) error // runs a command that does nothing
	// Helper returns the version that the root helper reports, and its pid; the
	// function is nil without a helper.
	Helper func(ctx context.Context) (version string, pid int, err error)

	Identify func(pid int) (proc.Identity, error)
	BootID   func() (string, error)
	// Record records which version is installed.
	Record func(journal.Build) error
	Now    func() time.Time
	// Tick is how often the daemons are checked while a version settles.
	Tick time.Duration
	// Patience replaces askTimeout in tests.
	Patience time.Duration
}

// Machine is one installation with its dependencies.
type Machine struct {
	Place
	Deps
	// Report receives, a line each, what is done.
	Report func(line string)
}
