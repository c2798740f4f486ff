package workspace

import (
	"context"
	"os"
	"path"
	"path/filepath"
	"strings"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/workspace/incoming"
	"banger/internal/workspace/objects"
)

// outer is the workspace that a submodule was sent with.
type outer struct {
	*Workspace
	path string // of the submodule in it, with slashes
}

// Join makes the workspace, if its repository is a submodule of one that has some of the VMs, the
// part of that workspace: the VM has the submodule's files, and they are taken back from it as those
// of any repository. It returns the VMs, the newest last, or none if it is not such a submodule.
func (w *Workspace) Join(ctx context.Context, vms []api.VM) ([]api.VM, error) {
	top, err := w.Repo.Superproject(ctx)
	if err != nil || top == "" {
		return nil, err
	}
	above, err := Open(ctx, top, filepath.Dir(w.dir))
	if err != nil {
		return nil, err
	}
	own := above.Own(vms)
	if len(own) == 0 {
		own, err = above.Join(ctx, vms)
	}
	if err != nil || len(own) == 0 {
		return nil, err
	}
	within, err := filepath.Rel(above.Repo.Top(), w.Repo.Top())
	if err != nil {
		return nil, err
	}
	w.outer = &outer{above, filepath.ToSlash(within)}
	return own, w.inherit(ctx, own[len(own)-1].ID)
}

// inherit records once what a VM was sent of the submodule.
func (w *Workspace) inherit(ctx context.Context, vm string) error {
	if _, known, err := w.Shipment(vm); known || err != nil {
		return err
	}
	unlock, err := w.Lock(ctx, nil)
	if err != nil {
		return err
	}
	defer unlock()
	if _, known, err := w.Shipment(vm); known || err != nil {
		return err // another one was faster
	}
	s, known, err := w.outer.Shipment(vm)
	if err != nil || !known || !s.Done {
		return err
	}
	tree, err := objects.Tree(ctx, w.outer.Repo, s.Commit)
	if err != nil {
		return err
	}
	at := tree[w.outer.path]
	if at.Mode != objects.ModeModule {
		return api.Errorf(api.KindConflict, "VM %s was sent %s without the submodule %s", s.Series, w.outer.Repo.Top(), w.outer.path).
			WithHint("banger up --new   makes another VM, with it")
	}
	if err := os.MkdirAll(w.vmDir(vm), 0o700); err != nil {
		return fsx.DiskError("record what the VM was sent", err)
	}
	if err := w.saveState(vm, shippedFile, w.below(w.outer.loadState(vm, shippedFile), s.Commit, at.ID)); err != nil {
		return err
	}
	s.Workspace, s.Series, s.Commit, s.Directory = w.Repo.Top(), seriesOfModules(s.Series), at.ID, path.Join(s.Directory, w.outer.path)
	return w.Save(Shipment{
		Workspace: s.Workspace, VM: vm, Series: s.Series, Directory: s.Directory, User: s.User, Done: true, Commit: s.Commit, Time: s.Time,
		Ignored: s.Ignored, Committed: s.Committed,
	})
}

// below is the part of a state of the outer workspace that is the submodule's.
func (w *Workspace) below(all incoming.State, of, commit string) incoming.State {
	part := incoming.State{Commit: commit, Began: all.Began}
	if all.Commit != of {
		return part
	}
	for _, e := range all.Entries {
		if name, inside := strings.CutPrefix(e.Path, w.outer.path+"/"); inside {
			e.Path = name
			part.Entries = append(part.Entries, e)
		}
	}
	return part
}

// seriesOfModules is the series in a submodule of a VM whose own one is series. In the submodule,
// that has the commits to which the snapshots of the outer workspace refer, and goes with them.
func seriesOfModules(series string) string {
	const longest, suffix = 63, "-module" // gitrepo.checkVM
	return strings.TrimRight(series[:min(len(series), longest-len(suffix))], "-") + suffix
}
