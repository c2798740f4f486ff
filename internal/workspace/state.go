package workspace

import (
	"cmp"
	"encoding/gob"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/vmid"
	"banger/internal/workspace/devcontainer"
	"banger/internal/workspace/incoming"
	"banger/internal/workspace/treesync"
)

// Shipment is what one VM was sent.
type Shipment struct {
	Workspace string // the canonical top level
	VM        string // its id
	Daemon    string // the state's Daemon when it was sent
	Series    string // of its snapshots: the name that the VM had
	Directory string // in the guest
	User      string // of the guest, who has the files; empty: the image's, or root
	// Done is false while the files are on their way: what is in the directory is then no work
	// of the guest's.
	Done   bool
	Commit string // the snapshot that was sent
	Time   time.Time
	// Ignored are the patterns of files that were sent though git ignores them: they are in the
	// snapshots of the host's files, too.
	Ignored []string
	// Committed is set if HEAD's tree alone was sent: what is not committed stays on the host.
	Committed bool `json:",omitempty"`
	// SetUp is the digest of the setup that has run to its end; empty if none has.
	SetUp string
	// Prepared is that of the setup whose commands have run, while files of the host may still have
	// to be copied. BaseImage is the digest of the image on which they ran, if it is not the VM's own.
	Prepared, BaseImage string
	// Features are the features that are installed in the VM, with what they ask for; nil: none.
	Features *devcontainer.Installed `json:",omitempty"`
	// Applied is the snapshot of the guest that was last applied to the host's tree.
	Applied string
	// Before is what Applied was before.
	Before string
	// Synced is the commit in which both sides agreed last; empty if they were not synced.
	Synced string
	// Pending is what a sync that did not come to its end was writing.
	Pending *treesync.Pending `json:",omitempty"`
	// Conflicts are the paths that the last sync left alone on both sides.
	Conflicts []Conflict
}

// state is what this user's commands remember of a workspace.
type state struct {
	// Daemon is the socket of the daemon whose VMs are meant: a user can have VMs in user mode and
	// in system mode. Only its VMs are forgotten if it does not know them.
	Daemon string
	dir    string
	// outer is nil unless it is a submodule of a workspace that has a VM (Join).
	outer *outer
}

func (w *state) vmDir(id string) string {
	if w.outer != nil {
		return filepath.Join(w.outer.vmDir(id), "modules", digest(w.outer.path))
	}
	return filepath.Join(w.dir, "vms", id)
}

// Shipment returns what a VM was sent; ok is false if it is not known to have been sent anything.
func (w *state) Shipment(id string) (s Shipment, ok bool, err error) {
	path := filepath.Join(w.vmDir(id), "shipment.json")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Shipment{}, false, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil {
		return Shipment{}, false, api.Errorf(api.KindInternal, "cannot read what the VM was sent: %s: %w", path, err).
			WithHint("if the file is damaged: banger up --new   continues in another VM, and the files of this one stay in it")
	}
	return s, true, nil
}

// ShipmentTo returns what the user whose states these are has sent to a VM, of whichever workspace.
func ShipmentTo(states, id string) (s Shipment, ok bool, err error) {
	if !vmid.Valid(id) {
		return Shipment{}, false, nil
	}
	all, err := os.ReadDir(states)
	if errors.Is(err, fs.ErrNotExist) {
		return Shipment{}, false, nil
	}
	for _, of := range all {
		s, ok, err = (&state{dir: filepath.Join(states, of.Name())}).Shipment(id)
		if ok || err != nil {
			break
		}
	}
	return s, ok, err
}

// Save records a shipment.
func (w *state) Save(s Shipment) error {
	s.Daemon = cmp.Or(s.Daemon, w.Daemon)
	err := os.MkdirAll(w.vmDir(s.VM), 0o700)
	if err == nil {
		err = fsx.WriteJSON(filepath.Join(w.vmDir(s.VM), "shipment.json"), s)
	}
	return fsx.DiskError("record what the VM was sent", err)
}

// The files with a commit and the guest's files when they were the same. They only save work:
// without them all contents are fetched and compared.
const (
	shippedFile = "shipped"
	lastFile    = "last"
)

func (w *state) saveState(id, name string, s incoming.State) error {
	return fsx.DiskError("record the guest's files", func() error {
		f, err := os.CreateTemp(w.vmDir(id), name+".*.tmp")
		if err != nil {
			return err
		}
		defer os.Remove(f.Name())
		err = errors.Join(gob.NewEncoder(f).Encode(s), f.Close())
		if err != nil {
			return err
		}
		return os.Rename(f.Name(), filepath.Join(w.vmDir(id), name))
	}())
}

// loadState returns a recorded state if it is one of a commit; any other is worth nothing.
func (w *state) loadState(id, name string) incoming.State {
	f, err := os.Open(filepath.Join(w.vmDir(id), name))
	if err != nil {
		return incoming.State{}
	}
	defer f.Close()
	var s incoming.State
	if gob.NewDecoder(f).Decode(&s) != nil {
		return incoming.State{}
	}
	return s
}

// ForgetVM removes what is remembered about a VM that was deleted. Its snapshots stay.
func (w *state) ForgetVM(id string) error { return os.RemoveAll(w.vmDir(id)) }

// Forget removes what is remembered about VMs that do not exist any more, of those of the daemon. Their
// snapshots stay.
func (w *state) Forget(existing []api.VM) error {
	entries, err := os.ReadDir(filepath.Join(w.dir, "vms"))
	if err != nil {
		return nil // there is nothing to forget
	}
	known := map[string]bool{}
	for _, vm := range existing {
		known[vm.ID] = true
	}
	for _, e := range entries {
		if _, another := w.another(e.Name()); !known[e.Name()] && !another {
			err = errors.Join(err, os.RemoveAll(w.vmDir(e.Name())))
		}
	}
	return err
}

// another returns what a VM was sent, and reports whether it is one of another daemon.
func (w *state) another(id string) (Shipment, bool) {
	s, known, err := w.Shipment(id)
	return s, err == nil && known && s.Daemon != "" && s.Daemon != w.Daemon
}
