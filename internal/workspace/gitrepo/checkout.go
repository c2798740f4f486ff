package gitrepo

import (
	"context"
	"os"
	"path/filepath"

	"banger/internal/host/fsx"
)

// checkOut writes the commits that files are of into a temporary directory, which remove removes.
// It returns "" if the files are of the work tree.
func checkOut(ctx context.Context, files []File) (dir string, remove func(), err error) {
	trees := map[*treeOf]bool{}
	for _, f := range files {
		if f.at != nil {
			trees[f.at] = true
		}
	}
	if len(trees) == 0 {
		return "", func() {}, nil
	}
	if dir, err = os.MkdirTemp("", "banger-commit-"); err != nil {
		return "", nil, fsx.DiskError("make a temporary directory", err)
	}
	remove = func() { os.RemoveAll(dir) }
	top := filepath.Join(dir, "tree")
	for t := range trees {
		if err := t.checkOut(ctx, filepath.Join(top, t.prefix), filepath.Join(dir, "index")); err != nil {
			remove()
			return "", nil, err
		}
	}
	return top, remove, nil
}

// checkOut writes the files of a tree below a directory, with an index that it removes.
func (t *treeOf) checkOut(ctx context.Context, dir, index string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fsx.DiskError("make a temporary directory", err)
	}
	defer os.Remove(index)
	env := []string{"GIT_DIR=" + t.repo.gitDir, "GIT_WORK_TREE=" + dir, "GIT_INDEX_FILE=" + index}
	// Git takes attributes from this index as long as their file is not there. A sparse checkout
	// does not count here: read-tree looks at it with -u alone.
	for _, args := range [][]string{{"read-tree", t.commit}, {"checkout-index", "-q", "-f", "-a"}} {
		if _, err := (command{dir: dir, env: env, args: args}).run(ctx); err != nil {
			return err
		}
	}
	return nil
}
