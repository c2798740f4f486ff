// Package fcrelease installs releases of Firecracker: it gets the archive that
// Firecracker publishes, unpacks the programs firecracker and jailer, tests them, and
// switches from one version to another in one step. A run that is killed leaves the
// version that was in use, and files that the next run removes.
//
// Its directory contains
//
//	versions/VERSION/{firecracker,jailer,release.json}
//	current        the link to the version in use
//	digests.json   the published SHA-256 of each archive at the time of its download
package fcrelease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"banger/api"
	"banger/internal/driver/firecracker"
	"banger/internal/fetch"
	"banger/internal/host/fsx"
)

// Store is the directory of a machine's releases. The caller has to exclude concurrent
// use.
type Store struct {
	Dir    string        // made if it is missing
	Source string        // URL of the releases
	Client *fetch.Client // see NewClient
	Root   int           // the user id that owns the directory: root's except in tests
	Now    func() time.Time

	// Replace maxArchive and maxOthers in tests.
	archiveMax, othersMax int64

	Step     func(what string)                                   // receives each step as it starts
	Progress func(what string, done, total int64)                // receives the progress of a download in bytes; total is 0 if unknown
	Run      func(ctx context.Context, p string) (string, error) // returns the output of a program's --version; Version except in tests
}

// Release is the record of a version: its release.json.
type Release struct {
	Version     string    `json:"version"` // without the v
	Archive     string    `json:"archive_sha256"`
	Firecracker string    `json:"firecracker_sha256"`
	Jailer      string    `json:"jailer_sha256"`
	From        string    `json:"from"` // URL, or path of a file
	At          time.Time `json:"at"`
	// Previous is the version that was in use before; empty: none of the store.
	Previous string `json:"previous,omitempty"`
}

const (
	versionsDir  = "versions"
	manifestFile = "release.json"
	digestsFile  = "digests.json"
	currentLink  = "current"
	stagePrefix  = ".stage-"
)

func (s *Store) path(parts ...string) string {
	return filepath.Join(append([]string{s.Dir}, parts...)...)
}

// Program returns the path of a program of a version, firecracker or jailer.
func (s *Store) Program(version, name string) string { return s.path(versionsDir, version, name) }

// Current returns the release in use; false: none of the store.
func (s *Store) Current() (Release, bool, error) {
	target, err := os.Readlink(s.path(currentLink))
	if errors.Is(err, os.ErrNotExist) {
		return Release{}, false, nil
	}
	version, ours := strings.CutPrefix(target, versionsDir+"/")
	if _, ok := firecracker.Parse(version); err != nil || !ours || !ok {
		return Release{}, false, api.Errorf(api.KindConflict, "cannot find out which Firecracker is in use: %s is not a link of banger", s.path(currentLink)).
			WithHint("check it with `ls -l %s`, then remove it", s.path(currentLink))
	}
	r, err := s.release(version)
	if err != nil { // its release.json is missing or damaged, but its name is known
		return Release{Version: version}, true, nil
	}
	return r, true, nil
}

// release reads a version's release.json.
func (s *Store) release(version string) (Release, error) {
	data, err := os.ReadFile(s.path(versionsDir, version, manifestFile))
	if err != nil {
		return Release{}, err
	}
	var r Release
	if err := json.Unmarshal(data, &r); err != nil || r.Version != version {
		return Release{}, fmt.Errorf("%s of version %s is damaged", manifestFile, version)
	}
	return r, nil
}

// intact returns the release of a version whose programs are unchanged.
func (s *Store) intact(version string) (Release, bool) {
	r, err := s.release(version)
	if err != nil {
		return Release{}, false
	}
	for name, want := range map[string]string{"firecracker": r.Firecracker, "jailer": r.Jailer} {
		if sum, err := digestOf(s.Program(version, name)); err != nil || sum != want {
			return Release{}, false
		}
	}
	return r, true
}

// prepare makes the directory and removes the leftovers of a killed run.
func (s *Store) prepare() error {
	for _, dir := range []string{s.Dir, s.path(versionsDir)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fsx.DiskError("make a directory", err)
		}
		if err := os.Chmod(dir, 0o755); err != nil { // whatever the umask is
			return api.AsError(err)
		}
	}
	var open *fsx.OpenDirError
	if err := fsx.DirsAlone(s.path(versionsDir), s.Root); errors.As(err, &open) {
		return api.Errorf(api.KindDenied, "cannot store programs in %s: %w", s.Dir, open).
			WithHint("sudo chown root: %[1]s && sudo chmod go-w %[1]s", open.Dir)
	} else if err != nil {
		return api.AsError(err)
	}
	return s.clean()
}

func (s *Store) clean() error {
	entries, err := os.ReadDir(s.Dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), stagePrefix) {
			err = errors.Join(err, os.RemoveAll(s.path(e.Name())))
		}
	}
	return errors.Join(err, fsx.RemoveTemporary(s.path(digestsFile)))
}

// digests reads the published digests.
func (s *Store) digests() (map[string]string, error) {
	known := map[string]string{}
	data, err := os.ReadFile(s.path(digestsFile))
	if errors.Is(err, os.ErrNotExist) {
		return known, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &known)
	}
	if err != nil {
		return nil, api.Errorf(api.KindConflict, "cannot read the recorded digests: %w", err).
			WithHint("sudo rm %s   forgets them", s.path(digestsFile))
	}
	return known, nil
}

// remember records the published digest of an archive.
func (s *Store) remember(archive, digest string) error {
	known, err := s.digests()
	if err != nil {
		return err
	}
	if known[archive] == digest {
		return nil
	}
	known[archive] = digest
	return fsx.DiskError("record a digest", writeJSON(s.path(digestsFile), known))
}

// writeJSON is fsx.WriteJSON for files that everybody may read.
func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return fsx.WriteFile(path, append(data, '\n'), 0o644)
}
