package repository

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"slices"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/update/release"
	"banger/tools/release/dist"
)

// Publish adds a release's archives, by their names. A published release does not
// change, except for the versions that may be downgraded to it.
func (r *Repository) Publish(archives map[string]dist.Archived, downgradeFrom []string, keys Keys) error {
	for _, name := range slices.Sorted(maps.Keys(archives)) {
		a := archives[name]
		a.Info.DowngradeFrom = downgradeFrom
		if err := r.add(name, a); err != nil {
			return err
		}
	}
	files, err := r.signTargets(keys)
	if err != nil {
		return err
	}
	for name, a := range archives {
		path := r.targetPath(name, r.targets.Signed.Targets[name].Hashes["sha256"])
		if err := fsx.WriteFile(path, a.Data, 0o644); err != nil {
			return fsx.DiskError("publish "+name, err)
		}
	}
	return r.writeAll(files)
}

func (r *Repository) add(name string, a dist.Archived) error {
	if err := a.Info.Validate(); err != nil {
		return api.Errorf(api.KindInvalid, "cannot publish %s: %w", name, err)
	}
	for _, v := range a.Info.DowngradeFrom {
		if release.Compare(v, a.Info.Version) <= 0 {
			return api.Errorf(api.KindInvalid, "cannot publish %s: from %s to %s is not a downgrade", name, v, a.Info.Version)
		}
	}
	custom, err := json.Marshal(a.Info)
	if err != nil {
		return err
	}
	target, err := metadata.TargetFile().FromBytes(name, a.Data, "sha256")
	if err != nil {
		return err
	}
	if old, found := r.targets.Signed.Targets[name]; found && !old.Hashes.Equal(target.Hashes) {
		return api.Errorf(api.KindConflict, "cannot publish %s: it is published with different content", name).
			WithHint("publish it as another version: hosts may have this one")
	}
	target.Custom = (*json.RawMessage)(&custom)
	r.targets.Signed.Targets[name] = target
	return nil
}

// Withdraw removes a release: first from the metadata, then its archives.
func (r *Repository) Withdraw(version string, keys Keys) error {
	var paths []string
	for name, t := range r.targets.Signed.Targets {
		info, err := info(t)
		if err != nil {
			return api.Errorf(api.KindInvalid, "cannot read the metadata of %s: %w", name, err)
		}
		if info.Version == version {
			paths = append(paths, r.targetPath(name, t.Hashes["sha256"]))
			delete(r.targets.Signed.Targets, name)
		}
	}
	if len(paths) == 0 {
		return api.Errorf(api.KindNotFound, "cannot withdraw %s: it is not published", version).
			WithHint("go run ./tools/release status --repository %s", r.dir)
	}
	files, err := r.signTargets(keys)
	if err != nil {
		return err
	}
	if err := r.writeAll(files); err != nil {
		return err
	}
	for _, path := range paths {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return api.AsError(err)
		}
	}
	return nil
}

func info(t *metadata.TargetFiles) (release.Info, error) {
	if t.Custom == nil {
		return release.ParseInfo(nil)
	}
	return release.ParseInfo(*t.Custom)
}
