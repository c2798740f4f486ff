// Package update replaces banger by another version of itself under running
// guests, proves the new version, and takes it back where it does not prove
// itself. Everything that is done is in the journal before it is begun (package
// journal), so that it may be interrupted at any moment.
package update

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"banger/api"
	"banger/internal/paths"
	"banger/internal/proc"
	"banger/internal/update/journal"
)

// Place is where an installation keeps its programs and its updates' state.
type Place struct {
	System bool
	Prefix string // holds versions/VERSION and the link "current"
	State  string // the journal's directory
	Hold   string // there while an update is being proven
	Data   string
	Owner  int // user id of the daemon, in system mode
}

const (
	versionsDir  = "versions"
	currentLink  = "current"
	updatingLink = "updating" // to the version that updates and, if need be, recovers
	stagePrefix  = ".stage-"
)

// SystemPlace is where this machine's installation is.
func SystemPlace() Place { return placeOf(paths.System(), paths.Programs) }

// UserPlace is where a user's own is, with programs below prefix.
func UserPlace(p paths.Paths, prefix string) Place { return placeOf(p, prefix) }

func placeOf(p paths.Paths, prefix string) Place {
	return Place{System: p.Managed, Prefix: prefix, State: p.Update(), Hold: p.Hold(), Data: p.Data}
}

// Dir is the directory of a version's programs.
func (p Place) Dir(v string) string { return filepath.Join(p.Prefix, versionsDir, v) }

// VM is the directory of a VM, which is there as long as the VM is.
func (p Place) VM(id string) string { return paths.Paths{Data: p.Data}.VM(id) }

// Current is the version that the link points at, or "".
func (p Place) Current() string {
	target, err := os.Readlink(filepath.Join(p.Prefix, currentLink))
	if err != nil || filepath.Dir(target) != versionsDir {
		return ""
	}
	return filepath.Base(target)
}

// Journal is the path of the journal of an update that is not over.
func (p Place) Journal() string { return filepath.Join(p.State, journal.File) }

// Last is the path of the account of the newest update that is over.
func (p Place) Last() string { return filepath.Join(p.State, journal.Last) }

// Log is the path of what the newest update said.
func (p Place) Log() string { return filepath.Join(p.State, journal.Log) }

// command is what to type to update this installation.
func (p Place) command() string {
	if p.System {
		return "sudo banger update"
	}
	return "banger update"
}

func (p Place) lock() string         { return filepath.Join(p.State, journal.Lock) }
func (p Place) previousFile() string { return filepath.Join(p.State, journal.Previous) }

// File is a file of systemd's or udev's as a version wants it.
type File struct {
	Path string `json:"path"`
	Text string `json:"text"`
}

// Schema is how the store's schema and a version's compare.
type Schema struct {
	Have, Known int
	Cannot      string // why the version cannot use the store; else empty
}

// Deps is what an update needs of the machine beside files: functions, so that
// tests have a world of their own. dir is a directory of programs: what says which
// version and which files it has is run as we are, the rest as the owner.
type Deps struct {
	Version    func(ctx context.Context, dir string) (string, error)
	Migrations func(ctx context.Context, dir string) (Schema, error)
	Files      func(ctx context.Context, dir string) ([]File, error)
	BackUp     func(ctx context.Context, dir, name string) error
	Restore    func(ctx context.Context, dir, name string) error

	// StopDaemon and StopAll return when what they stop has ended; what does not
	// run is stopped. StartHelper starts the root helper, again where it runs, and
	// Start the daemon, from a directory of programs; they return when it answers.
	StopDaemon  func(ctx context.Context) error
	StopAll     func(ctx context.Context) error
	StartHelper func(ctx context.Context) error
	Start       func(ctx context.Context, dir string) error
	// Reload has systemd read its files anew, and enables and disables units.
	Reload func(ctx context.Context, enable, disable []string) error
	// Daemons are the pids of both daemons.
	Daemons func(ctx context.Context) ([]int, error)

	// Answers are the versions that the daemons say they are.
	Answers    func(ctx context.Context) ([]string, error)
	Operations func(ctx context.Context) ([]api.Operation, error)
	VMs        func(ctx context.Context) ([]api.VM, error)
	Doctor     func(ctx context.Context) ([]api.Check, error)
	Exec       func(ctx context.Context, id string) error // runs a command that does nothing
	// Helper is the version that the root helper says it is, and its pid; nil where
	// there is none.
	Helper func(ctx context.Context) (version string, pid int, err error)

	Identify func(pid int) (proc.Identity, error)
	BootID   func() (string, error)
	// Record writes down which version is installed.
	Record func(journal.Build) error
	Now    func() time.Time
	// Tick is how often the daemons are asked while a version settles.
	Tick time.Duration
	// Patience is in place of askTime, for tests.
	Patience time.Duration
}

// Machine is one installation with what is around it.
type Machine struct {
	Place
	Deps
	// Report is told, a line each, what is done.
	Report func(line string)
}
