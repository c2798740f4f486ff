package fcrelease

import (
	"errors"
	"os"
	"slices"

	"banger/api"
	"banger/internal/faultpoint"
	"banger/internal/fsx"
)

// use switches to a version that is there: its release.json says what was used
// before, and then the link is replaced, which is the whole switch.
func (s *Store) use(r Release) (Release, error) {
	now, used, err := s.Current()
	if err != nil || used && now.Version == r.Version {
		return r, err
	}
	r.Previous = now.Version
	s.Step("switching to Firecracker " + r.Version)
	manifest := s.path(versionsDir, r.Version, manifestFile)
	err = errors.Join(fsx.RemoveTemporary(manifest), writeJSON(manifest, r))
	if err == nil {
		faultpoint.Reach("firecracker", "switch")
		err = fsx.Relink(versionsDir+"/"+r.Version, s.path(currentLink))
	}
	faultpoint.Reach("firecracker", "switched")
	return r, fsx.DiskError("switch to Firecracker "+r.Version, err)
}

// Back switches to the version that was used before the one that is used now. Where
// that was none of the store's, none is used afterwards if other says that there is
// another Firecracker; then Back returns a Release without a version.
func (s *Store) Back(other bool) (Release, error) {
	now, used, err := s.Current()
	switch {
	case err != nil:
		return Release{}, err
	case !used, now.Previous == "" && !other:
		return Release{}, api.Errorf(api.KindNotFound, "cannot go back: there is no Firecracker from before").
			WithHint("sudo banger system firecracker --version VERSION   gets one")
	case now.Previous == "":
		s.Step("setting Firecracker " + now.Version + " aside")
		err := errors.Join(os.Remove(s.path(currentLink)), fsx.SyncDir(s.Dir))
		return Release{}, fsx.DiskError("set Firecracker aside", err)
	}
	r, whole := s.intact(now.Previous)
	if !whole {
		return Release{}, api.Errorf(api.KindConflict, "cannot go back: version %s is not as it was got", now.Previous).
			WithHint("sudo banger system firecracker --version %s   gets it again", now.Previous)
	}
	return s.use(r)
}

// Prune removes all versions but the one that is used, the one before it, and those
// that running VMs have. running says for which digests of the program firecracker
// that is so, given the sizes in bytes that matter; it is asked only if there is
// something to remove, and if it fails nothing is. Prune returns what VMs have.
func (s *Store) Prune(running func(sizes map[int64]bool) (map[string]bool, error)) (kept []string, err error) {
	now, used, err := s.Current()
	if err != nil || !used {
		return nil, err
	}
	entries, err := os.ReadDir(s.path(versionsDir))
	if err != nil {
		return nil, api.AsError(err)
	}
	left, sizes := []string{}, map[int64]bool{}
	for _, e := range entries {
		if slices.Contains([]string{now.Version, now.Previous}, e.Name()) {
			continue
		}
		left = append(left, e.Name())
		if info, err := os.Stat(s.Program(e.Name(), "firecracker")); err == nil {
			sizes[info.Size()] = true
		}
	}
	if len(left) == 0 {
		return nil, nil
	}
	has, err := running(sizes)
	if err != nil {
		return left, err
	}
	for _, version := range left {
		sum, err := digestOf(s.Program(version, "firecracker"))
		if err == nil && has[sum] {
			kept = append(kept, version)
			continue
		}
		if err := os.RemoveAll(s.path(versionsDir, version)); err != nil {
			return kept, api.AsError(err)
		}
	}
	return kept, nil
}
