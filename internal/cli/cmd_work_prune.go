package cli

import (
	"fmt"
	"strconv"

	"banger/internal/workspace/history"

	"github.com/spf13/cobra"
)

func newWorkPrune(a *app) *cobra.Command {
	var keep string
	cmd := &cobra.Command{
		Use:   "prune [PATH]",
		Short: "Remove old snapshots of a workspace",
		Long: `Remove the oldest snapshots of the workspace below refs/banger. Those that are still
needed stay: of what was sent, and of what was last applied. The same number stays of
the commits that "banger work fetch" has named. Git removes the contents when nothing
else refers to them (git gc).`,
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
			if err != nil {
				return err
			}
			former, err := history.Prune(cmd.Context(), w.Repo, w.shipment.Series, n)
			for _, ref := range former {
				fmt.Fprintln(a.std.out, ref)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&keep, "keep", "10", "how many stay")
	return cmd
}
