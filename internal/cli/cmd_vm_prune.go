package cli

import (
	"github.com/spf13/cobra"
)

func newVMPrune(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Delete all VMs that are not running, with their disks",
		Long: `Delete all VMs that are not running, with their disks, without a confirmation. The
data on the disks is lost. "banger vm delete NAME" deletes single VMs.`,
		Example: "  banger vm prune",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.std.prune(cmd.Context(), c.VMs().Prune, asJSON)
		},
	}
	addJSON(cmd, &asJSON)
	return cmd
}
