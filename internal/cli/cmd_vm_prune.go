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
			p := a.std.newProgress()
			pruned, err := c.VMs().Prune(cmd.Context(), p.report)
			p.done()
			if err != nil {
				return err
			}
			return a.std.printPruned(pruned, asJSON)
		},
	}
	addJSON(cmd, &asJSON)
	return cmd
}
