package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func newWorkUndo(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "undo [PATH]",
		Short: "Take the last apply back",
		Long: `Make the files that the last "banger work apply" wrote here as they were before. If one
has changed since, nothing is written, and it is named.`,
		Example: "  banger work undo",
		Args:    arguments(0, 1, "at most one directory"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.undo(cmd.Context(), pathOf(args))
		},
	}
}

// undo needs no guest.
func (a *app) undo(ctx context.Context, path string) error {
	w, err := a.openWorkspace(ctx, path)
	if err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	vm, err := a.workVM(ctx, c, w)
	if err != nil {
		return err
	}
	unlock, err := w.Lock(ctx, a.waitingFor(w))
	if err != nil {
		return err
	}
	defer unlock()
	undone, err := w.Undo(ctx, vm.ID)
	for _, path := range undone.Restored {
		fmt.Fprintln(a.std.out, "restored "+printable(path))
	}
	return err
}
