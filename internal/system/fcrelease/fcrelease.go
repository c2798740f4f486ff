// Package fcrelease keeps releases of Firecracker: it gets the archive that its makers
// publish, takes the programs firecracker and jailer out of it, tries them, and switches
// from one version to another in one step. Whoever is killed in the middle of it leaves
// the version that was in use, and rubbish that the next run removes.
//
// Its directory holds
//
//	versions/VERSION/{firecracker,jailer,release.json}
//	current        the link that decides which version is used
//	digests.json   the SHA-256 that was published for each archive when it was got
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
	"banger/internal/fsx"
)

// Store is the directory of a machine's releases. Its caller sees to it that only
// one at a time works on it.
type Store struct {
	Dir    string        // made where it is missing
	Source string        // URL of the releases
	Client *fetch.Client // as NewClient makes it
	Root   int           // user id whose the directory is: root's but in tests
	Now    func() time.Time

	// In place of maxArchive and maxOthers, for tests.
	archiveMax, othersMax int64

	Step     func(what string)                                   // is told of each step as it begins
	Progress func(what string, done, total int64)                // is told how far a download is; total is 0 where nobody knows
	Run      func(ctx context.Context, p string) (string, error) // what a program says to --version; Version but in tests
}

// Release is what is remembered of a version: its release.json.
type Release struct {
	Version     string    `json:"version"` // without the v
	Archive     string    `json:"archive_sha256"`
	Firecracker string    `json:"firecracker_sha256"`
	Jailer      string    `json:"jailer_sha256"`
	From        string    `json:"from"` // URL, or path of a file
	At          time.Time `json:"at"`
	// Previous is the version that was used before this one; empty: none of the store's.
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

// Current returns the release that is used; false: none of the store's.
func (s *Store) Current() (Release, bool, error) {
	target, err := os.Readlink(s.path(currentLink))
	if errors.Is(err, os.ErrNotExist) {
		return Release{}, false, nil
	}
	version, ours := strings.CutPrefix(target, versionsDir+"/")
	if _, ok := firecracker.Parse(version); err != nil || !ours || !ok {
		return Release{}, false, api.Errorf(api.KindConflict, "cannot tell which Firecracker is used: %s is no link of ours", s.path(currentLink)).
			WithHint("look at it with `ls -l %s`, then remove it", s.path(currentLink))
	}
	r, err := s.release(version)
	if err != nil { // its release.json is gone or damaged: what it is called is known
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

// intact returns the release of a version whose programs are as they were got.
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

// prepare makes the directory and removes what a killed run left.
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
		return api.Errorf(api.KindDenied, "cannot keep programs in %s: %w", s.Dir, open).
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

// digests reads the digests that were published.
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
		return nil, api.Errorf(api.KindConflict, "cannot read which digests were published: %w", err).
			WithHint("sudo rm %s   forgets them", s.path(digestsFile))
	}
	return known, nil
}

// remember writes down the digest that was published for an archive.
func (s *Store) remember(archive, digest string) error {
	known, err := s.digests()
	if err != nil {
		return err
	}
	if known[archive] == digest {
		return nil
	}
	known[archive] = digest
	return fsx.DiskError("remember a digest", writeJSON(s.path(digestsFile), known))
}

// writeJSON is fsx.WriteJSON for what everybody may read.
func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return fsx.WriteFile(path, append(data, '\n'), 0o644)
}
