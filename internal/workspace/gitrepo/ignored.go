package gitrepo

import (
	"context"
	"maps"
	"slices"
	"strings"
)

// produced are names of directories that tools fill, and that repositories ignore. A guest has
// some that are not on this host.
const produced = "node_modules\x00.venv\x00venv\x00target\x00build\x00dist\x00out\x00bin\x00vendor\x00.cache\x00.next\x00.tox\x00__pycache__\x00coverage\x00"

// IgnoredDirs returns directories in which git ignores everything, as paths that begin with a
// slash at the top level: those that are here, and usual ones that may be in a guest.
func (r *Repo) IgnoredDirs(ctx context.Context) ([]string, error) {
	here, err := r.Git(ctx, nil, nil, "ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory")
	if err != nil {
		return nil, err
	}
	// A directory is listed, too, if what is in it happens to be ignored. The slash at the end is for
	// patterns that are for directories only.
	maybe := strings.ReplaceAll(produced, "\x00", "/\x00")
	for _, name := range zeros(here) {
		if strings.HasSuffix(name, "/") && name != "./" {
			maybe += name + "\x00"
		}
	}
	ignored, err := r.Git(ctx, nil, strings.NewReader(maybe), "check-ignore", "-z", "--stdin")
	if err != nil && !exited(err) { // it fails if none is ignored
		return nil, err
	}
	dirs := map[string]bool{}
	for _, name := range zeros(ignored) {
		dirs["/"+strings.TrimSuffix(name, "/")] = true
	}
	return slices.Sorted(maps.Keys(dirs)), nil
}
