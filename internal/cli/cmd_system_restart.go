package cli

import "github.com/spf13/cobra"

func newSystemRestart(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "restart",
		Short:   "Restart both daemons; VMs keep running",
		Long:    "Restart both daemons, and return when they answer. VMs keep running.",
		Example: "  sudo banger system restart",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := thisMachine().Restart(cmd.Context(), a.std.step); err != nil {
				return err
			}
			a.std.note("both daemons answer")
			return nil
		},
	}
}
