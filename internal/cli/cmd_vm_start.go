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
		use: "start", short: "Start stopped VMs, and let suspended ones continue",
		long: `Start stopped VMs. A suspended one continues where it was; --cold boots it from its
disk instead, as after a power cut, and drops its memory.`,
		example: "  banger vm start dev\n  banger vm start dev web-1\n  banger vm start --cold dev",
		work: func(ctx context.Context, c *client.Client, name string, report api.Report) error {
			_, err := c.VMs().Start(ctx, name, req, report)
			return err
		},
	}.command(a)
	forceMemory(cmd, &req.Force)
	cmd.Flags().BoolVar(&req.Cold, "cold", false, "boot suspended VMs from their disks, and drop their memory")
	return cmd
}
