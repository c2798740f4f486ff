package cli

import (
	"fmt"
	"strconv"

	"banger/internal/workspace/branch"

	"github.com/spf13/cobra"
)

func newWorkBranch(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "branch NAME [PATH]",
		Short: "Make a branch of the VM's work",
		Long: `Make a branch with what has changed in the workspace's VM, on top of the commit that was
checked out when the files were sent. Changes of yours that were not committed then
are a commit of their own below it. Nothing is checked out.`,
		Example: "  banger work branch fix-login\n  git log -p fix-login",
		Args:    arguments(1, 2, "a name, and at most one directory"),
		RunE: func(cmd *cobra.Command, args []string) error {
			w, unlock, err := a.lookAt(cmd.Context(), pathOf(args[1:]))
			if err != nil {
				return err
			}
			defer unlock()
			commit, err := branch.Create(cmd.Context(), w.Repo, w.work(), args[0])
			if err != nil {
				return err
			}
			if err := a.printMarks(cmd.Context(), w); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.std.out, "%s %s\n", args[0], commit)
			return err
		},
	}
}

// work is what the guest made, for package branch.
func (w work) work() branch.Work {
	return branch.Work{VM: w.shipment.Series, Shipped: w.shipment.Commit, Guest: w.guest}
}

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

func newWorkPrune(a *app) *cobra.Command {
	var keep string
	cmd := &cobra.Command{
		Use:   "prune [PATH]",
		Short: "Remove old snapshots of a workspace",
		Long: `Remove the oldest snapshots of the workspace below refs/banger. Those that are still
needed stay: of what was sent, and of what was last applied. Git removes the contents
when nothing else refers to them (git gc).`,
		Example: "  banger work prune --keep 20",
		Args:    arguments(0, 1, "at most one directory"),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := strconv.Atoi(keep)
			if err != nil || n < 1 {
				return usagef(cmd, "cannot use --keep %.40q: it is not a positive number", keep)
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
			return err
		},
	}
	cmd.Flags().StringVar(&keep, "keep", "10", "how many stay")
	return cmd
}
