// Package journal stores what an update has to remember if it is killed, or the machine
// loses power, at any moment: the current step, the state before, and what has to be
// the same afterwards.
package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/commands"
	"banger/internal/host/fsx"
	"banger/internal/host/proc"
	"banger/internal/system/record"
	"banger/internal/vmid"
)

// The names of files in the update's state directory.
const (
	File     = "journal.json"  // the update that has not ended
	Last     = "last.json"     // the newest update that has ended
	Previous = "previous.json" // what `banger update --rollback` returns to
	Log      = "log"           // what the newest update reported
	Lock     = "lock"          // held by the running updater or installer
)

// Format is the version of the journal's format.
const Format = 1

// Build names one build of banger.
type Build struct {
	Version string    `json:"version"`
	Commit  string    `json:"commit"`
	BuiltAt time.Time `json:"built_at"`
}

// Content is a file that an update replaces; Before or After is nil if there is no
// file.
type Content struct {
	Path   string  `json:"path"`
	Before *string `json:"before"`
	After  *string `json:"after"`
}

// Guest is a running guest as it was before the update, and has to be afterwards.
type Guest struct {
	ID      string        `json:"id"`
	Name    string        `json:"name"`
	Process proc.Identity `json:"process"` // of the VMM
	BootID  string        `json:"boot_id"`
	Exec    bool          `json:"exec"` // a command could be run in the guest
}

// Journal is one update.
type Journal struct {
	Format int    `json:"format"`
	ID     string `json:"id"`
	State  State  `json:"state"`
	// Reached is the state in which the rollback started.
	Reached State `json:"reached,omitempty"`
	From    Build `json:"from"`
	To      Build `json:"to"`

	Force    bool `json:"force,omitempty"`
	Rollback bool `json:"rollback,omitempty"` // a rollback to the previous version was requested
	// UnprovenDaemon: programs that run as the owner cannot prevent the update.
	UnprovenDaemon bool          `json:"unproven_daemon,omitempty"`
	Settle         time.Duration `json:"settle"` // how long the new version has to stay up to be proven
	// Migrates: the new version changes the store's schema. Restore names the
	// backup that becomes the store instead.
	Migrates bool   `json:"migrates,omitempty"`
	Restore  string `json:"restore,omitempty"`

	// Unbacked: the copy of the store that Backup names was not made.
	Unbacked bool `json:"unbacked,omitempty"`

	Files []Content `json:"files,omitempty"` // of systemd and udev
	// Commands are names of links that the installation lacks, and gets once the new version is proven.
	Commands []string `json:"commands,omitempty"`

	Guests []Guest  `json:"guests,omitempty"` // that ran
	VMs    []string `json:"vms,omitempty"`    // ids of all existing VMs
	Failed []string `json:"failed,omitempty"` // checks of the doctor that failed before

	BootID    string    `json:"boot_id"`  // of the host
	Attempts  int       `json:"attempts"` // how many updaters have started on it
	StartedAt time.Time `json:"started_at"`
	DownAt    time.Time `json:"down_at,omitzero"` // the API was stopped

	// The outcome.
	Reason     string        `json:"reason,omitempty"`   // why the update was not made
	Problems   []string      `json:"problems,omitempty"` // what is not as before, although the update was made
	Downtime   time.Duration `json:"downtime,omitempty"`
	FinishedAt time.Time     `json:"finished_at,omitzero"`
}

// Made reports whether a finished update has replaced the previous version.
func (j Journal) Made() bool { return j.State == Done && j.Reason == "" }

// Backup returns the name of the copy of the store that the update makes, or "" if it
// does not change the store.
func (j Journal) Backup() string {
	if j.Migrates || j.Restore != "" {
		return j.From.Version
	}
	return ""
}

// maxFile bounds a journal in bytes: the unit files and 200 bytes for each guest.
const maxFile = 8 << 20

// maxContent bounds one file of systemd or udev in bytes, and maxContents their number.
const (
	maxContent  = 64 << 10
	maxContents = 16
)

// Parse parses a journal. Anything that Write would not write is an error: the content
// of a damaged journal is not trusted.
func Parse(data []byte) (Journal, error) {
	var j Journal
	if len(data) > maxFile {
		return j, errors.New("it is too large")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&j); err != nil {
		return Journal{}, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Journal{}, errors.New("there is data after its end")
	}
	if err := j.Validate(); err != nil {
		return Journal{}, err
	}
	return j, nil
}

// Validate returns what is wrong with a journal.
func (j Journal) Validate() error {
	switch {
	case j.Format != Format:
		return fmt.Errorf("its format is %d, not %d", j.Format, Format)
	case !vmid.Valid(j.ID): // made as that of a VM (op.NewID)
		return fmt.Errorf("%q is not a valid id of an update", j.ID)
	case !j.State.Valid():
		return fmt.Errorf("%q is not a valid state", j.State)
	case (j.State == RollingBack || j.State == RolledBack) != (j.Reached != ""):
		return fmt.Errorf("state %s contradicts reached state %q", j.State, j.Reached)
	case j.Reached != "" && !j.Reached.MayMove(RollingBack):
		return fmt.Errorf("state %q cannot be rolled back", j.Reached)
	case !record.ValidVersion(j.From.Version) || !record.ValidVersion(j.To.Version):
		return fmt.Errorf("%q and %q are not both versions", j.From.Version, j.To.Version)
	case j.From.Version == j.To.Version:
		return errors.New("it changes nothing")
	case j.Restore != "" && !record.ValidVersion(j.Restore):
		return fmt.Errorf("%q is not a valid name of a backup", j.Restore)
	case j.Settle < 0 || j.Settle > time.Hour:
		return fmt.Errorf("%s is not a valid settling time", j.Settle)
	case j.Attempts < 0 || j.BootID == "" || j.StartedAt.IsZero():
		return errors.New("its start is missing")
	}
	return errors.Join(j.validFiles(), commands.Check(j.Commands), j.validGuests())
}

func (j Journal) validFiles() error {
	if len(j.Files) > maxContents {
		return fmt.Errorf("%d files are too many", len(j.Files))
	}
	for _, f := range j.Files {
		if !filepath.IsAbs(f.Path) || filepath.Clean(f.Path) != f.Path {
			return fmt.Errorf("%q is not an absolute, clean path", f.Path)
		}
		for _, text := range []*string{f.Before, f.After} {
			if text != nil && len(*text) > maxContent {
				return fmt.Errorf("%s is too large", f.Path)
			}
		}
	}
	return nil
}

func (j Journal) validGuests() error {
	for _, g := range j.Guests {
		if !vmid.Valid(g.ID) || g.Process.PID <= 0 {
			return fmt.Errorf("guest %q has no valid id or pid", g.ID)
		}
	}
	for _, id := range j.VMs {
		if !vmid.Valid(id) {
			return fmt.Errorf("%q is not a valid VM id", id)
		}
	}
	return nil
}

// Write writes the journal to path, atomically and durably.
func (j Journal) Write(path string) error {
	if err := j.Validate(); err != nil {
		return api.Errorf(api.KindInternal, "cannot write an invalid journal: %w", err)
	}
	return fsx.DiskError("write the update's journal", fsx.WriteJSON(path, j))
}

// Read reads the journal at path. It returns os.ErrNotExist if there is none.
func Read(path string) (Journal, error) {
	data, err := readFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return Journal{}, err
	}
	var j Journal
	if err == nil {
		j, err = Parse(data)
	}
	if err != nil {
		return Journal{}, api.Errorf(api.KindInternal, "cannot read the journal of an update, %s: %w", path, err).
			WithHint("docs/update.md   says what to check; nothing was changed")
	}
	return j, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(errors.New("it is not a regular file"), err)
	}
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}
