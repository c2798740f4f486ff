package cli

import (
	"banger/api"

	"github.com/spf13/cobra"
)

func newVMCommit(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "commit VM IMAGE",
		Short: "Create an image from a stopped VM",
		Long: `Create an image from the whole disk of a stopped VM, with the configuration of the
image that the VM was created from. New VMs can be created from it, with disks of
any size that it fits. If an image of that name exists, the name moves to the new
one.`,
		Example: `  banger vm stop dev
  banger vm commit dev dev-ready
  banger vm run --image dev-ready`,
		Args:              arguments(2, 2, "a VM and the name of an image"),
		ValidArgsFunction: completeArgs(1, vmNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			p := a.std.newProgress()
			image, err := c.VMs().Commit(cmd.Context(), args[0], api.CommitVM{Name: args[1]}, p.report)
			p.done()
			if err != nil {
				return err
			}
			return a.std.printMade([]string{args[1]}, image.Digest)
		},
	}
}
