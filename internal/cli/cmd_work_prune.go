package cli

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
)

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
