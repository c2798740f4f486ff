package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"banger/internal/workspace"
	"banger/internal/workspace/history"
	"banger/internal/workspace/series"

	"github.com/spf13/cobra"
)

func newWorkPrune(a *app) *cobra.Command {
	var keep string
	var deleted bool
	cmd := &cobra.Command{
		Use:   "prune [PATH]",
		Short: "Remove old snapshots of a workspace",
		Long: `Remove the oldest snapshots of the workspace below refs/banger. Those that are still
needed stay: of what was sent, and of what was last applied. The same number stays of
the commits that "banger work fetch" has named. Git removes the contents when nothing
else refers to them (git gc).

The snapshots of VMs that were deleted stay: they may be all that is left of the work
there. They are named at the end, and --deleted removes all of them, and no others. It
needs no VM.`,
		Example: "  banger work prune --keep 20\n  banger work prune --deleted",
		Args:    arguments(0, 1, "at most one directory"),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := strconv.Atoi(keep)
			if err != nil || n < 1 {
				return usagef(cmd, "cannot use --keep %.40q: it is not a positive number", keep)
			}
			if deleted && cmd.Flags().Changed("keep") {
				return usagef(cmd, "cannot use --keep with --deleted, which removes all")
			}
			if deleted {
				return a.pruneDeleted(cmd.Context(), pathOf(args))
			}
			w, unlock, err := a.lookAt(cmd.Context(), pathOf(args))
			if err != nil {
				return err
			}
			defer unlock()
			removed, err := w.Workspace.Prune(cmd.Context(), w.shipment, n)
			for _, c := range removed {
				fmt.Fprintln(a.std.out, c.Ref)
			}
			if err != nil {
				return err
			}
			former, err := history.Prune(cmd.Context(), w.Repo, w.shipment.Series, n)
			for _, ref := range former {
				fmt.Fprintln(a.std.out, ref)
			}
			if err != nil {
				return err
			}
			return a.nameDeleted(cmd.Context(), w.Workspace)
		},
	}
	cmd.Flags().StringVar(&keep, "keep", "10", "how many stay")
	cmd.Flags().BoolVar(&deleted, "deleted", false, "remove the snapshots of VMs that were deleted, all of them")
	return cmd
}

// nameDeleted names the VMs that do not exist any more and have snapshots.
func (a *app) nameDeleted(ctx context.Context, w *workspace.Workspace) error {
	all, err := a.deleted(ctx, w)
	for _, s := range all {
		a.std.note("VM %s was deleted, and has %s here, the newest made %s", s.VM, plural(s.Snapshots+s.Others, "snapshot"), ago(time.Now(), s.Newest))
	}
	if len(all) > 0 {
		a.std.note("`banger work prune --deleted` removes those of deleted VMs")
	}
	return err
}

func (a *app) deleted(ctx context.Context, w *workspace.Workspace) ([]series.Of, error) {
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	existing, err := c.VMs().List(ctx)
	if err != nil {
		return nil, err
	}
	return w.Deleted(ctx, existing)
}

// pruneDeleted removes the snapshots of VMs that do not exist any more, and prints their names.
func (a *app) pruneDeleted(ctx context.Context, path string) error {
	w, err := a.openWorkspace(ctx, path)
	if err != nil {
		return err
	}
	unlock, err := w.Lock(ctx, a.waitingFor(w))
	if err != nil {
		return err
	}
	defer unlock()
	all, err := a.deleted(ctx, w)
	if err != nil {
		return err
	}
	for _, s := range all {
		removed, err := w.RemoveSeries(ctx, s.VM)
		for _, ref := range removed {
			fmt.Fprintln(a.std.out, ref)
		}
		if err != nil {
			return err
		}
	}
	if len(all) == 0 {
		a.std.note("no VM that was deleted has snapshots here")
	}
	return nil
}
