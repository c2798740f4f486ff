package cli

import (
	"context"

	"banger/api"
	"banger/client"

	"github.com/spf13/cobra"
)

func newVMKill(a *app) *cobra.Command {
	return eachCommand{
		of:  vmKind,
		use: "kill", short: "Kill VMs immediately",
		long:    "Kill VMs immediately, as if their power were cut. Prefer `banger vm stop`.",
		example: "  banger vm kill dev",
		work: func(ctx context.Context, c *client.Client, name string, report api.Report) error {
			_, err := c.VMs().Kill(ctx, name, report)
			return err
		},
	}.command(a)
}
