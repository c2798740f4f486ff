// Package setups remembers the images that were made of finished setups of one workspace, and what
// the directory of the files had in them.
//
// A record is made before its image, and completed after it: a program that is killed in between
// leaves a record without a digest, whose image may exist. Whoever calls this has the workspace's
// lock; to read needs none.
package setups

import (
	"encoding/gob"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/workspace/devcontainer"
	"banger/internal/workspace/incoming"
	"banger/internal/workspace/objects"
)

// Kept is how many setups a workspace has at most, besides those whose images VMs use: some
// branches with lock files of their own. An image has the size of its files.
const Kept = 4

// Setup is a finished setup, and the image with its result.
type Setup struct {
	ID        string // of the record; the image's name ends with it
	Workspace string // the canonical top level
	Key       string // of all that the result depends on
	// Commands is the part of the key that a shipment remembers (workspace.Shipment.Prepared), and
	// Base the digest of the image that the setup ran on.
	Commands, Base string
	Name           string // of the image
	Image          string // its digest; empty until it is made
	VM, VMName     string // of which it is made
	Began          time.Time
	Made           time.Time // zero until it is made
	Used           time.Time // when a VM was made of it last
	// Stale is a setup that the user had run again: no VM begins with it any more.
	Stale     bool
	Directory string // of the files in the guest
	// Features are those that are installed in it.
	Features *devcontainer.Installed `json:",omitempty"`
}

// Files are those that the directory had before the setup ran.
type Files struct {
	Tree    map[string]objects.Entry // of the commit that was sent
	Entries []incoming.Entry         // as the guest listed them right after they were sent
}

// Store has the setups of one workspace in a directory.
type Store struct{ dir string }

// In returns the store in a directory, which need not exist.
func In(dir string) Store { return Store{dir} }

const (
	record = "setup.json"
	files  = "files"
)

func (s Store) path(id, name string) string { return filepath.Join(s.dir, id, name) }

// All returns the setups, that used last first. One that cannot be read counts as lost.
func (s Store) All() ([]Setup, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, api.Errorf(api.KindInternal, "cannot read the finished setups: %w", err)
	}
	var all []Setup
	for _, e := range entries {
		var found Setup
		data, err := os.ReadFile(s.path(e.Name(), record))
		if err == nil && json.Unmarshal(data, &found) == nil && found.ID == e.Name() {
			all = append(all, found)
		}
	}
	slices.SortFunc(all, func(a, b Setup) int { return b.Used.Compare(a.Used) })
	return all, nil
}

// Begin records a setup whose image is about to be made, in place of an earlier one.
func (s Store) Begin(setup Setup, of Files) error {
	err := s.Remove(setup.ID)
	if err == nil {
		err = os.MkdirAll(filepath.Join(s.dir, setup.ID), 0o700)
	}
	if err == nil {
		err = s.writeFiles(setup.ID, of)
	}
	if err == nil {
		err = s.Save(setup)
	}
	if err != nil {
		err = errors.Join(err, s.Remove(setup.ID))
	}
	return fsx.DiskError("record the setup", err)
}

func (s Store) writeFiles(id string, of Files) error {
	f, err := os.OpenFile(s.path(id, files), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(gob.NewEncoder(f).Encode(of), f.Sync(), f.Close())
}

// Save records what has changed of a setup.
func (s Store) Save(setup Setup) error {
	return fsx.DiskError("record the setup", fsx.WriteJSON(s.path(setup.ID, record), setup))
}

// Files returns what the directory had.
func (s Store) Files(id string) (of Files, err error) {
	f, err := os.Open(s.path(id, files))
	if err == nil {
		defer f.Close()
		err = gob.NewDecoder(f).Decode(&of)
	}
	if err != nil {
		err = api.Errorf(api.KindInternal, "cannot read which files were sent before the setup: %w", err)
	}
	return of, err
}

// Remove forgets a setup; its image stays. The record goes first: what is without one is nothing.
func (s Store) Remove(id string) error {
	err := os.Remove(s.path(id, record))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, os.RemoveAll(filepath.Join(s.dir, id)))
}
