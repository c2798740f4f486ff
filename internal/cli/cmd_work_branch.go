package cli

import (
	"fmt"

	"banger/api"
	"banger/internal/guest/filecopy"
	"banger/internal/host/execx"
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
			if err := w.refuseFolder("make a branch"); err != nil {
				return err
			}
			commit, err := branch.Create(cmd.Context(), w.Repo, w.work(), args[0])
			if err != nil {
				return err
			}
			if err := a.printMarks(cmd.Context(), w); err != nil {
				return err
			}
			if a.from.given() {
				a.std.note("`%s push origin %s` pushes it", a.from.git(w.Workspace), execx.Word(args[0]))
			}
			_, err = fmt.Fprintf(a.std.out, "%s %s\n", args[0], commit)
			return err
		},
	}
}

// refuseFolder refuses what only a repository can do.
func (w work) refuseFolder(what string) error {
	if !w.Repo.Folder() {
		return nil
	}
	return api.Errorf(api.KindInvalid, "cannot %s: %s is in no repository", what, filecopy.Quote(w.Repo.Top())).
		WithHint("banger work apply   brings the changes into the files")
}

// work is what the guest made, for package branch.
func (w work) work() branch.Work {
	return branch.Work{VM: w.shipment.Series, Shipped: w.shipment.Commit, Guest: w.guest}
}
