package cli

import (
	"fmt"

	"banger/internal/workspace/branch"

	"github.com/spf13/cobra"
)

func newWorkMerge(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "merge [PATH]",
		Short: "Merge the VM's work into your branch",
		Long: `Merge what has changed in the workspace's VM into the branch that is checked out, as
git merge does, without hooks. Your files must have no changes that are not
committed. If there are conflicts, nothing is merged, and they are named.`,
		Example: "  banger work merge",
		Args:    arguments(0, 1, "at most one directory"),
		RunE: func(cmd *cobra.Command, args []string) error {
			w, unlock, err := a.lookAt(cmd.Context(), pathOf(args))
			if err != nil {
				return err
			}
			defer unlock()
			if err := w.refuseFolder("merge"); err != nil {
				return err
			}
			if err := a.printMarks(cmd.Context(), w); err != nil {
				return err
			}
			merged, err := branch.Merge(cmd.Context(), w.Repo, w.work())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.std.out, "%s %s\n", merged.Branch, merged.Commit)
			return err
		},
	}
}
