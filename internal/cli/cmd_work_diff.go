package cli

import (
	"context"

	"banger/internal/guest/filecopy"
	"banger/internal/workspace/review"

	"github.com/spf13/cobra"
)

func newWorkDiff(a *app) *cobra.Command {
	var stat, raw bool
	cmd := &cobra.Command{
		Use:   "diff [PATH]",
		Short: "Show what has changed in the VM, as a patch",
		Long: `Show what has changed in the workspace's VM since the files were sent, or since they
were last applied here. Control characters are made visible.

Changes that deserve a look before they reach this host are named on standard error:
files that run here without being asked for or by habit, such as hooks, editor tasks
and scripts of packages; new programs; links that leave the tree; and text that a
reader would not see.

--raw prints a patch for "git apply", with all contents and characters.`,
		Example: "  banger work diff\n  banger work diff --stat\n  banger work diff --raw > work.patch",
		Args:    arguments(0, 1, "at most one directory"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if stat && raw {
				return usagef(cmd, "--stat and --raw exclude each other")
			}
			w, unlock, err := a.lookAt(cmd.Context(), pathOf(args))
			if err != nil {
				return err
			}
			defer unlock()
			show := review.Patch
			switch {
			case stat:
				show = a.statOf
			case raw:
				show = review.BinaryPatch
			}
			text, err := show(cmd.Context(), w.Repo, w.shipment.Base(), w.guest)
			if err != nil {
				return err
			}
			if !raw {
				text = review.Printable(text)
			}
			if _, err := a.std.out.Write(text); err != nil {
				return err
			}
			return a.printMarks(cmd.Context(), w)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&stat, "stat", false, "a line for each file")
	f.BoolVar(&raw, "raw", false, "a patch for git apply")
	return cmd
}

func (a *app) statOf(ctx context.Context, repo review.Repo, from, to string, paths ...string) ([]byte, error) {
	return review.Stat(ctx, repo, from, to, width(a.std.out), paths...)
}

// printMarks names the changes that deserve a look.
func (a *app) printMarks(ctx context.Context, w work) error {
	marks, err := review.Marks(ctx, w.Repo, w.shipment.Base(), w.guest)
	for _, m := range marks {
		a.std.note("look at %s: %s", filecopy.Quote(m.Path), m.Reason)
	}
	return err
}
