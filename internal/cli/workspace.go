package cli

import (
	"context"
	"slices"

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
	all, err := c.VMs().List(ctx)
	if err != nil {
		return api.VM{}, err
	}
	own := w.Own(all)
	if len(own) == 0 {
		own, err = w.Join(ctx, all)
	}
	if err != nil {
		return api.VM{}, err
	}
	return a.newestVM(w, own)
}

// newestVM returns the newest one of a workspace's VMs.
func (a *app) newestVM(w *workspace.Workspace, own []api.VM) (api.VM, error) {
	if len(own) == 0 {
		return api.VM{}, a.noVM(w)
	}
	return own[len(own)-1], nil
}

// settledVMs returns all VMs, once no operation works on the newest one of a workspace: a command that was
// killed may have begun it.
func settledVMs(ctx context.Context, a *app, c *client.Client, w *workspace.Workspace, report func(*progress) api.Report) ([]api.VM, error) {
	operations, err := c.Operations().List(ctx) // first: what has ended by now, the list of VMs shows
	if err != nil {
		return nil, err
	}
	all, err := c.VMs().List(ctx)
	if err != nil {
		return nil, err
	}
	own := w.Own(all)
	operations = slices.DeleteFunc(operations, func(o api.Operation) bool {
		return o.Status != api.OpRunning || len(own) == 0 || o.Target != own[len(own)-1].ID
	})
	if len(operations) == 0 {
		return all, nil
	}
	p := a.std.newProgress()
	defer p.done()
	for _, o := range operations {
		_ = c.Operations().Follow(ctx, o.ID, report(p)) // its failure is not this command's
	}
	return c.VMs().List(ctx)
}

func (a *app) noVM(w *workspace.Workspace) error {
	return api.Errorf(api.KindNotFound, "%s has no VM", w.Name()).WithHint("%s   makes one", a.from.typed(w, "banger up"))
}
