package gitrepo

import (
	"context"
	"os"
	"path/filepath"

	"banger/internal/host/fsx"
)

// ensure makes banger's own repository of a folder. It gets its name when it is complete, so that
// of two that make it one is taken.
func (r *Repo) ensure(ctx context.Context) error {
	r.making.Lock()
	defer r.making.Unlock()
	if r.made || !r.folder {
		return nil
	}
	if r.made = isGitDir(r.gitDir); r.made {
		return nil
	}
	above := filepath.Dir(r.gitDir)
	if err := os.MkdirAll(above, 0o700); err != nil {
		return fsx.DiskError("make the directory of a workspace", err)
	}
	temporary, err := os.MkdirTemp(above, ".git-*")
	if err != nil {
		return fsx.DiskError("make the repository of a workspace", err)
	}
	defer os.RemoveAll(temporary)
	init := command{dir: above, args: []string{"init", "--quiet", "--bare", "--template=", "--object-format=sha1", temporary}}
	if _, err := init.run(ctx); err != nil {
		return err
	}
	if err := os.Rename(temporary, r.gitDir); err != nil && !isGitDir(r.gitDir) {
		return fsx.DiskError("make the repository of a workspace", err)
	}
	r.made = true
	return nil
}

// index is the index that a snapshot begins with: the user's. A folder has none; in its place is
// that of the last snapshot, which only saves reading files again that have not changed since.
func (r *Repo) index() string {
	if r.folder {
		return filepath.Join(r.gitDir, "banger-index")
	}
	return filepath.Join(r.gitDir, "index")
}

// keep stores the index of a folder's snapshot for the next one, which is slower without it.
func (r *Repo) keep(index string) {
	dir, err := os.MkdirTemp(r.gitDir, "banger-index-")
	if err != nil {
		return
	}
	defer os.RemoveAll(dir)
	copied := filepath.Join(dir, "index")
	if copyIndex(index, copied) == nil {
		_ = os.Rename(copied, r.index())
	}
}

// stale returns what has to leave an index: what is not there as it says, and of the last
// snapshot of a folder all that does not ship any more.
func (s *scan) stale(ctx context.Context, env []string) ([]string, error) {
	if !s.repo.folder {
		return s.dropped, nil
	}
	out, err := s.repo.Git(ctx, env, nil, "ls-files", "-z")
	if err != nil {
		return nil, err
	}
	ships := make(map[string]bool, len(s.files))
	for _, f := range s.files {
		ships[f.Path] = true
	}
	var names []string
	for _, name := range zeros(out) {
		if !ships[name] {
			names = append(names, name)
		}
	}
	return names, nil
}

// ours reports whether a path is banger's own repository of a folder, which can be below it: a
// home directory can be a workspace.
func (s *scan) ours(name string) bool {
	if !s.repo.folder {
		return false
	}
	rel, err := filepath.Rel(s.repo.gitDir, filepath.Join(s.repo.top, name))
	return err == nil && filepath.IsLocal(rel)
}
