package workspace

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"

	"banger/internal/workspace/gitrepo"
	"banger/internal/workspace/remote"
)

// cloneDir is the directory of a workspace's clone, beside its state.
const cloneDir = "clone"

// OpenRemote returns the workspace of a repository that the user has no work tree of. Its Repo is a
// clone in the directory of its state, or nil if it was not cloned yet.
func OpenRemote(ctx context.Context, r remote.Remote, states string) (*Workspace, error) {
	w := &Workspace{state: state{dir: filepath.Join(states, digest(r.String()))}, from: r.String()}
	return w, w.openClone(ctx)
}

func (w *Workspace) openClone(ctx context.Context) error {
	s, err := remote.Load(filepath.Join(w.dir, cloneDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		w.Repo, err = gitrepo.Open(ctx, filepath.Join(w.dir, cloneDir, s.Tree), "")
	}
	return err
}

// Renew clones the remote of a workspace, or brings the newest of it into the clone. The name of a
// snapshot is returned if the clone's files had changed. The caller has the lock of the workspace.
func (w *Workspace) Renew(ctx context.Context, r remote.Remote, o gitrepo.GitOptions) (saved string, err error) {
	commits, err := o.Commits()
	if err != nil {
		return "", err
	}
	// Another program may have cloned it before there was the lock.
	if err := w.openClone(ctx); err != nil {
		return "", err
	}
	dir := filepath.Join(w.dir, cloneDir)
	if w.Repo != nil {
		return remote.Renew(ctx, r, dir, w.Repo, o)
	}
	if err := remote.Make(ctx, r, dir, commits); err != nil {
		return "", err
	}
	return "", w.openClone(ctx)
}

// From is the remote that the workspace is a clone of, as the user can type it; empty: it is a work
// tree or folder of the user's.
func (w *Workspace) From() string { return w.from }

// Name is what messages call the workspace: the remote, or the top level.
func (w *Workspace) Name() string {
	if w.from != "" {
		return w.from
	}
	return w.Repo.Top()
}

// stateOf returns the directory of the state of a work tree, and the remote if the tree is a clone
// of one.
func stateOf(states, top string) (dir, from string, err error) {
	if real, err := filepath.EvalSymlinks(states); err == nil {
		clone := filepath.Dir(top)
		if filepath.Base(clone) == cloneDir && filepath.Dir(filepath.Dir(clone)) == real {
			s, err := remote.Load(clone)
			if !errors.Is(err, fs.ErrNotExist) {
				return filepath.Join(states, filepath.Base(filepath.Dir(clone))), s.String(), err
			}
		}
	}
	return filepath.Join(states, digest(top)), "", nil
}
