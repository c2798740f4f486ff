package cli

import (
	"banger/api"

	"github.com/spf13/cobra"
)

func newVMCommit(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "commit VM IMAGE",
		Short: "Make an image of a stopped VM",
		Long: `Make an image of a stopped VM: of its whole disk, with the configuration of the
image that it was made from. More VMs can be made of it, of any size that it fits.
Where there is an image of that name, the name goes over to the new one.`,
		Example: `  banger vm stop dev
  banger vm commit dev dev-ready
  banger vm run --image dev-ready`,
		Args:              arguments(2, 2, "a VM and the name of an image"),
		ValidArgsFunction: a.completeArgs(1, a.vmNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			p := a.newProgress()
			image, err := c.CommitVM(cmd.Context(), args[0], api.CommitVM{Name: args[1]}, p.report)
			p.done()
			if err != nil {
				return err
			}
			return a.printMade([]string{args[1]}, image.Digest)
		},
	}
}
