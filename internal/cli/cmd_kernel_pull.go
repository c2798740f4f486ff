package cli

import (
	"banger/api"

	"github.com/spf13/cobra"
)

func newKernelPull(a *app) *cobra.Command {
	var req api.PullKernel
	cmd := &cobra.Command{
		Use:   "pull [RELEASE]",
		Short: "Get the distribution's kernel for virtual machines",
		Long: `Get the distribution's kernel for virtual machines as a package, through this
machine's package manager, which checks its signature. Nothing is installed on this
machine.

Without RELEASE the newest one, which becomes the default. With RELEASE, one of
"banger kernel list --available", which is named by it.`,
		Example: "  banger kernel pull\n  banger kernel pull --refresh\n  banger kernel pull 6.1.0-37-cloud-amd64",
		Args:    arguments(0, 1, "one release at most"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				req.Release = args[0]
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			p := a.std.newProgress()
			kernel, err := c.Kernels().Pull(cmd.Context(), req, p.report)
			p.done()
			if err != nil {
				return err
			}
			return a.std.printMade(kernel.Names, kernel.Digest)
		},
	}
	cmd.Flags().BoolVar(&req.Refresh, "refresh", false, "fetch the package lists, and the package, again")
	return cmd
}
