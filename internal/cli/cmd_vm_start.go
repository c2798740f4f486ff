package cli

import (
	"context"

	"banger/api"
	"banger/client"

	"github.com/spf13/cobra"
)

func newVMStart(a *app) *cobra.Command {
	var req api.StartVM
	cmd := eachCommand{
		of:  vmKind,
		use: "start", short: "Start stopped VMs", example: "  banger vm start dev\n  banger vm start dev web-1",
		work: func(ctx context.Context, c *client.Client, name string, report api.Report) error {
			_, err := c.VMs().Start(ctx, name, req, report)
			return err
		},
	}.command(a)
	forceMemory(cmd, &req.Force)
	return cmd
}
