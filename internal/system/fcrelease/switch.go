package fcrelease

import (
	"errors"
	"os"
	"slices"

	"banger/api"
	"banger/internal/faultpoint"
	"banger/internal/host/fsx"
)

// use switches to an installed version: it records the previous version in its
// release.json, and then replaces the link, which is the actual switch.
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

// Back switches to the version that was in use before the current one. If there was
// none in the store, and other tells that another Firecracker is installed, none is
// used afterwards; then Back returns a Release without a version.
func (s *Store) Back(other bool) (Release, error) {
	now, used, err := s.Current()
	switch {
	case err != nil:
		return Release{}, err
	case !used, now.Previous == "" && !other:
		return Release{}, api.Errorf(api.KindNotFound, "cannot switch back: no previous Firecracker is kept").
			WithHint("sudo banger system firecracker --version VERSION   installs one")
	case now.Previous == "":
		s.Step("disabling Firecracker " + now.Version)
		err := errors.Join(os.Remove(s.path(currentLink)), fsx.SyncDir(s.Dir))
		return Release{}, fsx.DiskError("disable Firecracker", err)
	}
	r, whole := s.intact(now.Previous)
	if !whole {
		return Release{}, api.Errorf(api.KindConflict, "cannot switch back: version %s is damaged", now.Previous).
			WithHint("sudo banger system firecracker --version %s   installs it again", now.Previous)
	}
	return s.use(r)
}

// Prune removes all versions except the one in use, the one before it, and those of
// running VMs. running returns the digests of firecracker programs that VMs run, given
// the sizes in bytes to consider; it is called only if there is something to remove,
// and if it fails nothing is removed. Prune returns the versions that VMs use.
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
