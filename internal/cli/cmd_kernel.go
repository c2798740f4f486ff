package cli

import (
	"github.com/spf13/cobra"
)

func newKernel(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "kernel",
		Short:   "Get and remove guest kernels",
		Example: "  banger kernel list\n  banger kernel pull",
		Args:    noArgs,
		RunE:    showHelp,
	}
	cmd.AddCommand(newKernelList(a), newKernelPull(a), newKernelImport(a), newKernelShow(a), newKernelDelete(a))
	return cmd
}
