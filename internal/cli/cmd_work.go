package cli

import (
	"context"

	"banger/api"
	"banger/client"
	"banger/internal/guest/filecopy"
	"banger/internal/workspace"

	"github.com/spf13/cobra"
)

func newWork(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "work",
		Short: "See what has changed in a workspace's VM, and take it back",
		Long: `See what has changed in the VM that "banger up" made for a repository or folder, and
take it back. The files of the guest become a commit below refs/banger in your
repository; nothing of the guest's runs on this host, and your files, index, stash
and branches stay as they are until you ask for a change.`,
		Example: "  banger work status\n  banger work diff\n  banger work apply",
		Args:    noArgs,
		RunE:    showHelp,
		// For all subcommands, since which workspace is meant is said in the same way.
		PersistentPreRunE: a.from.check,
	}
	a.from.flag(cmd.PersistentFlags())
	cmd.AddCommand(newWorkStatus(a), newWorkDiff(a), newWorkLog(a), newWorkApply(a), newWorkUndo(a), newWorkBranch(a), newWorkMerge(a), newWorkFetch(a),
		newWorkPrune(a))
	return cmd
}

// work is a workspace with its VM, and the newest commit of the guest's files.
type work struct {
	*workspace.Workspace
	vm       api.VM
	shipment workspace.Shipment
	guest    string // the commit of the guest's files; of a VM that does not run, the last one
	ignored  int    // files of the guest's that git ignores
}

// lookAt collects what the guest of a workspace's VM has now. Whoever calls it holds the
// workspace's lock until unlock.
func (a *app) lookAt(ctx context.Context, path string) (w work, unlock func(), err error) {
	w, c, unlock, err := a.findWork(ctx, path)
	if err != nil {
		return w, nil, err
	}
	if err = a.collect(ctx, c, &w); err != nil {
		unlock()
	}
	return w, unlock, err
}

// findWork finds a workspace and its VM, which has been sent the files. Whoever calls it holds the
// workspace's lock until unlock.
func (a *app) findWork(ctx context.Context, path string) (w work, c *client.Client, unlock func(), err error) {
	if w.Workspace, err = a.openWorkspace(ctx, path); err != nil {
		return w, nil, nil, err
	}
	if c, err = a.client(); err != nil {
		return w, nil, nil, err
	}
	if w.vm, err = a.workVM(ctx, c, w.Workspace); err != nil {
		return w, nil, nil, err
	}
	if unlock, err = w.Lock(ctx, a.waitingFor(w.Workspace)); err != nil {
		return w, nil, nil, err
	}
	var known bool
	w.shipment, known, err = w.Shipment(w.vm.ID)
	if err == nil && !(known && w.shipment.Done) {
		err = a.notSent(w.Workspace, w.vm)
	}
	if err != nil {
		unlock()
	}
	return w, c, unlock, err
}

func (a *app) waitingFor(w *workspace.Workspace) func() {
	return func() { a.std.note("waiting for another command that works on %s", filecopy.Quote(w.Name())) }
}

func (a *app) collect(ctx context.Context, c *client.Client, w *work) error {
	if w.vm.State != api.StateRunning {
		w.guest = w.Newest(w.shipment)
		a.std.note("VM %s is %s: this is what it had when it was last looked at", w.vm.Name, w.vm.State)
		return nil
	}
	result, err := w.Collect(ctx, c.Guest(w.vm.ID), w.shipment)
	if err != nil {
		return err
	}
	w.guest, w.ignored = result.Commit, result.Ignored
	for _, warning := range result.Warnings {
		a.std.note("%s: %s", filecopy.Quote(warning.Path), warning.Text)
	}
	for _, path := range result.Submodules {
		a.std.note("%s: the submodule has changed since it was sent: `banger work` in its directory shows how, and takes that", filecopy.Quote(path))
	}
	return nil
}

func (a *app) notSent(w *workspace.Workspace, vm api.VM) error {
	return api.Errorf(api.KindConflict, "VM %s has not been sent the files of %s", vm.Name, w.Name()).WithHint("%s   sends them", a.from.typed(w, "banger up"))
}

// pathOf returns the directory that the last argument names.
func pathOf(args []string) string {
	if len(args) == 0 {
		return "."
	}
	return args[len(args)-1]
}
