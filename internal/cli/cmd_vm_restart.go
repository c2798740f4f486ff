package cli

import (
	"context"

	"banger/api"
	"banger/client"

	"github.com/spf13/cobra"
)

func newVMRestart(a *app) *cobra.Command {
	var req api.StartVM
	cmd := eachCommand{
		of:  vmKind,
		use: "restart", short: "Stop VMs and start them again", example: "  banger vm restart dev",
		work: func(ctx context.Context, c *client.Client, name string, report api.Report) error {
			_, err := c.VMs().Restart(ctx, name, req, report)
			return err
		},
	}.command(a)
	forceMemory(cmd, &req.Force)
	return cmd
}
