package cli

import (
	"fmt"

	"banger/api"
	"banger/internal/size"

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
			p := a.newProgress()
			pruned, err := c.VMs().Prune(cmd.Context(), p.report)
			p.done()
			if err != nil {
				return err
			}
			return a.printPruned(pruned, asJSON)
		},
	}
	addJSON(cmd, &asJSON)
	return cmd
}

func (a *app) printPruned(pruned api.Pruned, asJSON bool) error {
	if pruned.Removed == nil {
		pruned.Removed = []string{}
	}
	if asJSON {
		return printJSON(a.out, "pruned", pruned)
	}
	for _, name := range pruned.Removed {
		if _, err := fmt.Fprintln(a.out, printable(name)); err != nil {
			return err
		}
	}
	a.note("removed %d, freed %s", len(pruned.Removed), size.Format(pruned.ReclaimedBytes))
	return nil
}
