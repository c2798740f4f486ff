package cli

import (
	"time"

	"banger/internal/workspace/review"

	"github.com/spf13/cobra"
)

func newWorkLog(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "log [PATH]",
		Short: "List the snapshots of a workspace",
		Long: `List the commits below refs/banger that were made of the workspace's files, here and in
its VM, the oldest first. Each is whole: "git show REF", "git diff REF", and
"git restore --source REF FILE" work with them.`,
		Example: "  banger work log\n  git diff refs/banger/project/1 refs/banger/project/2",
		Args:    arguments(0, 1, "at most one directory"),
		RunE: func(cmd *cobra.Command, args []string) error {
			w, unlock, err := a.lookAt(cmd.Context(), pathOf(args))
			if err != nil {
				return err
			}
			defer unlock()
			all, err := review.Log(cmd.Context(), w.Repo, w.shipment.Series)
			if err != nil {
				return err
			}
			t := newTable("REF", "COMMIT", "MADE", "FILES OF", "WHAT")
			for _, s := range all {
				of := "this host"
				switch {
				case s.Guest:
					of = "the VM"
				case s.Both:
					of = "both"
				}
				t.add(s.Ref, s.Commit[:12], ago(time.Now(), s.Time), of, printable(s.Subject))
			}
			return t.write(a.std.out)
		},
	}
}
