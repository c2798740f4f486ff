package cli

import (
	"context"

	"banger/api"
	"banger/client"

	"github.com/spf13/cobra"
)

func newVMPause(a *app) *cobra.Command {
	return eachCommand{
		of:  vmKind,
		use: "pause", short: "Stop the processors of running VMs",
		long: `Stop the processors of running VMs, until "banger vm resume". A paused VM uses no
processor time, and keeps its memory. Open sessions stay open: they stand still, also if
banger is restarted or updated meanwhile. Commands and connections that are new are
refused. Connections that the guest has made to others may end by their time limits.

The clock of the guest is set again at the first use after that.`,
		example: "  banger vm pause dev\n  banger vm resume dev",
		work: func(ctx context.Context, c *client.Client, name string, report api.Report) error {
			_, err := c.VMs().Pause(ctx, name, report)
			return olderDaemon(err, "/pause", "vm pause")
		},
	}.command(a)
}
