package cli

import (
	"context"

	"banger/api"
	"banger/client"
	"banger/internal/paths"
	"banger/internal/workspace"
)

// openWorkspace returns the workspace that a directory is in.
func openWorkspace(ctx context.Context, path string) (*workspace.Workspace, error) {
	// Also in system mode: this is the user's own, and not the daemon's.
	p, err := paths.User()
	if err != nil {
		return nil, err
	}
	return workspace.Open(ctx, path, p.Workspaces())
}

// workVM returns the newest VM that has the files of a workspace: its own, or that of the workspace
// whose submodule it is.
func workVM(ctx context.Context, c *client.Client, w *workspace.Workspace) (api.VM, error) {
	all, err := c.VMs().List(ctx)
	if err != nil {
		return api.VM{}, err
	}
	own := w.Own(all)
	if len(own) == 0 {
		own, err = w.Join(ctx, all)
	}
	return newest(w, own, err)
}

// workspaceVM returns the newest VM of a workspace.
func workspaceVM(ctx context.Context, c *client.Client, w *workspace.Workspace) (api.VM, error) {
	all, err := c.VMs().List(ctx)
	if err != nil {
		return api.VM{}, err
	}
	return newest(w, w.Own(all), nil)
}

func newest(w *workspace.Workspace, own []api.VM, err error) (api.VM, error) {
	if err != nil {
		return api.VM{}, err
	}
	if len(own) == 0 {
		return api.VM{}, api.Errorf(api.KindNotFound, "%s has no VM", w.Repo.Top()).WithHint("banger up   makes one")
	}
	return own[len(own)-1], nil
}
