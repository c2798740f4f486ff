// Package journal holds what an update has to remember when it is killed, or the
// machine loses power, at any moment: what is being done, how it was before, and
// what has to be as before afterwards.
package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/fsx"
	"banger/internal/proc"
	"banger/internal/system/record"
	"banger/internal/vmid"
)

// The names of files in the update's state directory.
const (
	File     = "journal.json"  // an update that is not over
	Last     = "last.json"     // the newest one that is
	Previous = "previous.json" // what `banger update --rollback` goes back to
	Log      = "log"           // what the newest one said
	Lock     = "lock"          // held by who is at work
)

// Format is the version of the journal's form.
const Format = 1

// Build names one build of banger.
type Build struct {
	Version string    `json:"version"`
	Commit  string    `json:"commit"`
	BuiltAt time.Time `json:"built_at"`
}

// Content is a file that an update replaces: nil where there is none.
type Content struct {
	Path   string  `json:"path"`
	Before *string `json:"before"`
	After  *string `json:"after"`
}

// Guest is a running guest as it was before, and has to be afterwards.
type Guest struct {
	ID      string        `json:"id"`
	Name    string        `json:"name"`
	Process proc.Identity `json:"process"` // of the VMM
	BootID  string        `json:"boot_id"`
	Exec    bool          `json:"exec"` // a command could be run in it
}

// Journal is one update.
type Journal struct {
	Format int    `json:"format"`
	ID     string `json:"id"`
	State  State  `json:"state"`
	// Reached is how far it had come when it began to be rolled back.
	Reached State `json:"reached,omitempty"`
	From    Build `json:"from"`
	To      Build `json:"to"`

	Force    bool `json:"force,omitempty"`
	Rollback bool `json:"rollback,omitempty"` // it was asked to go back to the kept version
	// UnprovenDaemon: what runs as the owner does not keep the update from being made.
	UnprovenDaemon bool          `json:"unproven_daemon,omitempty"`
	Settle         time.Duration `json:"settle"` // how long the new version has to stay up
	// Migrates: the new version changes the store's schema. Restore names the
	// backup that becomes the store instead.
	Migrates bool   `json:"migrates,omitempty"`
	Restore  string `json:"restore,omitempty"`

	// Unbacked: the copy of the store that Backup names was not made.
	Unbacked bool `json:"unbacked,omitempty"`

	Files  []Content `json:"files,omitempty"`  // of systemd and udev
	Guests []Guest   `json:"guests,omitempty"` // that ran
	VMs    []string  `json:"vms,omitempty"`    // ids of all that there were
	Failed []string  `json:"failed,omitempty"` // checks of the doctor that failed before

	BootID    string    `json:"boot_id"`  // of the host
	Attempts  int       `json:"attempts"` // how often an updater has taken it up
	StartedAt time.Time `json:"started_at"`
	DownAt    time.Time `json:"down_at,omitzero"` // the API was stopped

	// The account.
	Reason     string        `json:"reason,omitempty"`   // why the update was not made
	Problems   []string      `json:"problems,omitempty"` // what is not as before, although it was
	Downtime   time.Duration `json:"downtime,omitempty"`
	FinishedAt time.Time     `json:"finished_at,omitzero"`
}

// Made tells whether an update that is over has replaced the version before it.
func (j Journal) Made() bool { return j.State == Done && j.Reason == "" }

// Backup names the copy of the store that the update makes, or "" where it
// leaves the store alone.
func (j Journal) Backup() string {
	if j.Migrates || j.Restore != "" {
		return j.From.Version
	}
	return ""
}

// maxFile bounds a journal: the unit files and 200 bytes for each guest.
const maxFile = 8 << 20

// maxContent bounds one file of systemd's or udev's, and maxContents their number.
const (
	maxContent  = 64 << 10
	maxContents = 16
)

var idPattern = regexp.MustCompile(`^[0-9a-f]{12}$`)

// Parse reads a journal. Anything that is not exactly what Write writes is an
// error: a journal that was damaged says nothing.
func Parse(data []byte) (Journal, error) {
	var j Journal
	if len(data) > maxFile {
		return j, errors.New("it is far too large")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&j); err != nil {
		return Journal{}, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Journal{}, errors.New("something follows it")
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
	case !idPattern.MatchString(j.ID):
		return fmt.Errorf("%q is no update's id", j.ID)
	case !j.State.Valid():
		return fmt.Errorf("there is no state %q", j.State)
	case (j.State == RollingBack || j.State == RolledBack) != (j.Reached != ""):
		return fmt.Errorf("it is %s and had reached %q", j.State, j.Reached)
	case j.Reached != "" && !j.Reached.MayMove(RollingBack):
		return fmt.Errorf("nothing is rolled back from %q", j.Reached)
	case !record.ValidVersion(j.From.Version) || !record.ValidVersion(j.To.Version):
		return fmt.Errorf("%q and %q are not both versions", j.From.Version, j.To.Version)
	case j.From.Version == j.To.Version:
		return errors.New("it changes nothing")
	case j.Restore != "" && !record.ValidVersion(j.Restore):
		return fmt.Errorf("%q names no backup", j.Restore)
	case j.Settle < 0 || j.Settle > time.Hour:
		return fmt.Errorf("%s is no time to prove anything in", j.Settle)
	case j.Attempts < 0 || j.BootID == "" || j.StartedAt.IsZero():
		return errors.New("it does not say when it was begun")
	}
	return errors.Join(j.validFiles(), j.validGuests())
}

func (j Journal) validFiles() error {
	if len(j.Files) > maxContents {
		return fmt.Errorf("%d files are too many", len(j.Files))
	}
	for _, f := range j.Files {
		if !filepath.IsAbs(f.Path) || filepath.Clean(f.Path) != f.Path {
			return fmt.Errorf("%q is no path of a file", f.Path)
		}
		for _, text := range []*string{f.Before, f.After} {
			if text != nil && len(*text) > maxContent {
				return fmt.Errorf("%s is far too large", f.Path)
			}
		}
	}
	return nil
}

func (j Journal) validGuests() error {
	for _, g := range j.Guests {
		if !vmid.Valid(g.ID) || g.Process.PID <= 0 {
			return fmt.Errorf("guest %q is none", g.ID)
		}
	}
	for _, id := range j.VMs {
		if !vmid.Valid(id) {
			return fmt.Errorf("%q is no VM's id", id)
		}
	}
	return nil
}

// Write writes the journal to path, in one piece and durably.
func (j Journal) Write(path string) error {
	if err := j.Validate(); err != nil {
		return api.Errorf(api.KindInternal, "cannot write a wrong journal: %w", err)
	}
	return fsx.DiskError("write the update's journal", fsx.WriteJSON(path, j))
}

// Read reads the journal at path; os.ErrNotExist where there is none.
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
			WithHint("docs/update.md   says what to look at; nothing is guessed, and nothing was changed")
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
		return nil, errors.Join(errors.New("it is no ordinary file"), err)
	}
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}
