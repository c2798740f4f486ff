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
	return workspace.Open(ctx, path, p.Workspaces())
}

// workspaceVM returns the newest VM of a workspace.
func (a *app) workspaceVM(ctx context.Context, c *client.Client, w *workspace.Workspace) (api.VM, error) {
	all, err := c.VMs().List(ctx)
	if err != nil {
		return api.VM{}, err
	}
	own := w.Own(all)
	if len(own) == 0 {
		return api.VM{}, a.noVM(w)
	}
	return own[len(own)-1], nil
}

func (a *app) noVM(w *workspace.Workspace) error {
	return api.Errorf(api.KindNotFound, "%s has no VM", w.Name()).WithHint("%s   makes one", a.from.typed(w, "banger up"))
}
