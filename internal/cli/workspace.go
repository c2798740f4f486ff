package cli

import (
	"context"

	"banger/api"
	"banger/client"
	"banger/internal/paths"
	"banger/internal/workspace"
)

// openWorkspace returns the workspace that a directory is in, or that of --from.
func (a *app) openWorkspace(ctx context.Context, path string) (*workspace.Workspace, error) {
	if a.from.given() {
		w, _, err := a.from.open(ctx)
		if err == nil && w.Repo == nil {
			err = a.noVM(w)
		}
		return w, err
	}
	// Also in system mode: this is the user's own, and not the daemon's.
	p, err := paths.User()
	if err != nil {
		return nil, err
	}
	w, err := workspace.Open(ctx, path, p.Workspaces())
	return ofDaemon(w, err)
}

// ofDaemon says which daemon has the VMs of a workspace.
func ofDaemon(w *workspace.Workspace, err error) (*workspace.Workspace, error) {
	if err != nil {
		return w, err
	}
	p, err := paths.Choose()
	w.Daemon = p.Socket()
	return w, err
}

// workVM returns the newest VM that has the files of a workspace: its own, or that of the workspace
// whose submodule it is.
func (a *app) workVM(ctx context.Context, c *client.Client, w *workspace.Workspace) (api.VM, error) {
	return a.newestVM(ctx, c, w, w.Join)
}

// newestVM returns the newest VM of a workspace. others, unless nil, finds it if there is none.
func (a *app) newestVM(ctx context.Context, c *client.Client, w *workspace.Workspace, others func(context.Context, []api.VM) ([]api.VM, error)) (api.VM, error) {
	all, err := c.VMs().List(ctx)
	if err != nil {
		return api.VM{}, err
	}
	own := w.Own(all)
	if len(own) == 0 && others != nil {
		own, err = others(ctx, all)
	}
	if err == nil && len(own) == 0 {
		err = a.noVM(w)
	}
	if err != nil {
		return api.VM{}, err
	}
	return own[len(own)-1], nil
}

func (a *app) noVM(w *workspace.Workspace) error {
	return api.Errorf(api.KindNotFound, "%s has no VM", w.Name()).WithHint("%s   makes one", a.from.typed(w, "banger up"))
}
