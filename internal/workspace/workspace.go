package workspace

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/label"
	"banger/internal/workspace/gitrepo"
)

// Label is the key of the label of a VM that says which work tree is its.
const Label = "banger.workspace"

// Workspace is a work tree of this host, with what is remembered about its VMs.
type Workspace struct {
	Repo *gitrepo.Repo
	state
	from string // the remote that Repo is a clone of, or ""
}

// Open returns the workspace that a directory is in. states is the directory of the state of
// all workspaces of this user.
func Open(ctx context.Context, path, states string) (*Workspace, error) {
	canonical, err := canonical(path)
	if err != nil {
		return nil, err
	}
	// If there is no repository, the folder itself is the top level.
	repo, err := gitrepo.Open(ctx, canonical, filepath.Join(states, digest(canonical), "git"))
	if err != nil {
		return nil, err
	}
	if within, err := filepath.Rel(repo.Top(), states); repo.Folder() && err == nil && filepath.IsLocal(within) {
		return nil, api.Errorf(api.KindInvalid, "cannot send all of %s into a VM: banger's own data is in it", repo.Top()).
			WithHint("name the directory of one project; or make it a repository: git init %s", repo.Top())
	}
	dir, from, err := stateOf(states, repo.Top())
	if err != nil {
		return nil, err
	}
	return &Workspace{Repo: repo, state: state{dir: dir}, from: from}, nil
}

func canonical(path string) (string, error) {
	full, err := filepath.Abs(path)
	if err == nil {
		full, err = filepath.EvalSymlinks(full)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", api.Errorf(api.KindNotFound, "cannot use %s: no such directory", path)
	case err != nil:
		return "", api.Errorf(api.KindInvalid, "cannot use %s: %w", path, fsx.Cause(err))
	}
	return full, nil
}

// digest names the directory of a workspace's state.
func digest(top string) string {
	sum := sha256.Sum256([]byte(top))
	return hex.EncodeToString(sum[:8])
}

// Label returns the label's value: the workspace's name, or its digest if a label cannot have that
// value.
func (w *Workspace) Label() string {
	if w.outer != nil {
		return w.outer.Label()
	}
	if name := w.Name(); label.Check(map[string]string{Label: name}) == nil {
		return name
	}
	return "sha256:" + digest(w.Name())
}

// Own returns those of the VMs that belong to the workspace, the newest last.
func (w *Workspace) Own(vms []api.VM) []api.VM {
	var own []api.VM
	for _, vm := range vms {
		if vm.Labels[Label] == w.Label() {
			own = append(own, vm)
		}
	}
	return own
}

// Lock waits until no other program works on the workspace's VMs. waiting, unless nil, is called
// if it has to wait.
func (w *state) Lock(ctx context.Context, waiting func()) (unlock func(), err error) {
	if w.outer != nil {
		return w.outer.Lock(ctx, waiting)
	}
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		return nil, fsx.DiskError("make the directory of the workspace's state", err)
	}
	f, err := os.OpenFile(filepath.Join(w.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fsx.DiskError("lock the workspace", err)
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		return func() { f.Close() }, nil
	}
	if waiting != nil {
		waiting()
	}
	if err := fsx.Flock(ctx, f); err != nil {
		return nil, api.Errorf(api.KindCanceled, "cannot lock the workspace: %w", err)
	}
	return func() { f.Close() }, nil
}

// Allowed is the file of what the user has confirmed (package project).
func (w *state) Allowed() string { return filepath.Join(w.dir, "allowed.json") }
