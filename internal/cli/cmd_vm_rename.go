package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newVMRename(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "rename NAME NEW-NAME",
		Short:             "Rename a VM",
		Long:              "Rename a VM. A running guest gets its new host name at its next start.",
		Example:           "  banger vm rename brave-otter dev",
		Args:              arguments(2, 2, "the old and the new name"),
		ValidArgsFunction: completeArgs(1, vmNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			vm, err := c.VMs().Rename(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.std.out, vm.Name)
			return err
		},
	}
}
