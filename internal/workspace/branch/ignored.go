package branch

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"banger/api"
	"banger/internal/workspace/objects"
)

// inTheWay refuses a merge that would replace files which git ignores: git overwrites those
// without a word (--no-overwrite-ignore in git-merge(1) is of fast-forwards alone).
func inTheWay(ctx context.Context, repo Repo, c chain) error {
	changes, err := c.changes(ctx, repo)
	if err != nil {
		return err
	}
	tracked, err := objects.Tree(ctx, repo, "HEAD")
	if err != nil {
		return err
	}
	var found []string
	for _, change := range changes {
		if _, known := tracked[change.Path]; known || change.New.Mode == "" {
			continue
		}
		if name := untracked(repo.Top(), change.Path, tracked); name != "" && !slices.Contains(found, name) {
			found = append(found, name)
		}
	}
	if len(found) > 0 {
		return api.Errorf(api.KindConflict, "cannot merge: files that git ignores are in the way: %s", list(found)).
			WithHint("move them away, or: banger work branch NAME")
	}
	return nil
}

// changes are those that a merge brings at most.
func (c chain) changes(ctx context.Context, repo Repo) ([]objects.Change, error) {
	if c.head != "" {
		return objects.Changes(ctx, repo, c.head, c.tip)
	}
	tree, err := objects.Tree(ctx, repo, c.tip)
	var all []objects.Change
	for name, entry := range tree {
		all = append(all, objects.Change{Path: name, New: entry})
	}
	return all, err
}

// untracked returns a file of the work tree that is where name is to be, or above or below it,
// and that HEAD does not have.
func untracked(top, name string, tracked map[string]objects.Entry) string {
	for i := range len(name) + 1 {
		if i < len(name) && name[i] != '/' {
			continue
		}
		at := name[:i]
		info, err := os.Lstat(filepath.Join(top, at))
		if err != nil {
			return ""
		}
		if info.IsDir() {
			continue
		}
		if _, known := tracked[at]; known {
			return ""
		}
		return at
	}
	found := ""
	_ = filepath.WalkDir(filepath.Join(top, name), func(place string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		below := strings.TrimPrefix(place, top+"/")
		if _, known := tracked[below]; !known {
			found = below
			return fs.SkipAll
		}
		return nil
	})
	return found
}
