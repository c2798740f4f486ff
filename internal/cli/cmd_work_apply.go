package cli

import (
	"fmt"

	"banger/api"
	"banger/internal/guest/filecopy"
	"banger/internal/workspace/apply"

	"github.com/spf13/cobra"
)

func newWorkApply(a *app) *cobra.Command {
	var partial bool
	cmd := &cobra.Command{
		Use:   "apply [PATH]",
		Short: "Bring the VM's changes into your files",
		Long: `Bring what has changed in the workspace's VM into your files here. The index and the
branches stay as they are. First your files become a snapshot below refs/banger;
"banger work undo" takes the last apply back.

A file that has changed on both sides is a conflict: then nothing is written, and the
conflicts are named. --partial writes the others.`,
		Example: "  banger work apply\n  banger work apply --partial && git diff",
		Args:    arguments(0, 1, "at most one directory"),
		RunE: func(cmd *cobra.Command, args []string) error {
			w, unlock, err := a.lookAt(cmd.Context(), pathOf(args))
			if err != nil {
				return err
			}
			defer unlock()
			result, err := w.Apply(cmd.Context(), w.shipment, w.guest, partial)
			if err == nil || len(result.Conflicts) > 0 {
				a.printApplied(result)
			}
			if err != nil {
				return err
			}
			if err := a.printMarks(cmd.Context(), w); err != nil {
				return err
			}
			if n := len(result.Conflicts); n > 0 {
				return api.Errorf(api.KindConflict, "not all was written: %s", plural(n, "conflict"))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&partial, "partial", false, "write the files that have no conflict")
	return cmd
}

func (a *app) printApplied(r apply.Result) {
	for _, path := range r.Written {
		fmt.Fprintln(a.std.out, "wrote   "+printable(path))
	}
	for _, path := range r.Removed {
		fmt.Fprintln(a.std.out, "removed "+printable(path))
	}
	if len(r.Written)+len(r.Removed)+len(r.Conflicts) == 0 {
		a.std.note("nothing to apply")
	}
	for _, c := range r.Conflicts {
		a.std.note("conflict: %s: %s", filecopy.Quote(c.Path), c.Reason)
	}
}
