package cli

import (
	"banger/api"

	"github.com/spf13/cobra"
)

func newKernelPull(a *app) *cobra.Command {
	var refresh bool
	cmd := &cobra.Command{
		Use:   "pull",
		Short: "Get the distribution's kernel for virtual machines",
		Long: `Get the distribution's kernel for virtual machines as a package, through this
machine's package manager, which checks its signature. Nothing is installed on this
machine.`,
		Example: "  banger kernel pull\n  banger kernel pull --refresh",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			p := a.std.newProgress()
			kernel, err := c.Kernels().Pull(cmd.Context(), api.PullKernel{Refresh: refresh}, p.report)
			p.done()
			if err != nil {
				return err
			}
			return a.std.printMade(kernel.Names, kernel.Digest)
		},
	}
	cmd.Flags().BoolVar(&refresh, "refresh", false, "look for a newer one")
	return cmd
}
