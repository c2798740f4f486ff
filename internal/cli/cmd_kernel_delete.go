package cli

import (
	"context"

	"banger/api"
	"banger/client"

	"github.com/spf13/cobra"
)

func newKernelDelete(a *app) *cobra.Command {
	return eachCommand{
		of: kernelKind, use: "delete", aliases: []string{"rm"}, short: "Delete kernels",
		long:    "Delete kernels. A kernel that a VM uses is refused.",
		example: "  banger kernel delete mine",
		work: func(ctx context.Context, c *client.Client, name string, _ api.Report) error {
			return c.Kernels().Delete(ctx, name)
		},
	}.command(a)
}
