package cli

import (
	"context"

	"banger/api"
	"banger/client"

	"github.com/spf13/cobra"
)

func newVMResume(a *app) *cobra.Command {
	return eachCommand{
		of:  vmKind,
		use: "resume", short: "Let paused VMs run again",
		long:    `Let VMs run again that "banger vm pause" has paused. A VM that runs is left alone.`,
		example: "  banger vm resume dev",
		work: func(ctx context.Context, c *client.Client, name string, report api.Report) error {
			_, err := c.VMs().Resume(ctx, name, report)
			return olderDaemon(err, "/resume", "vm resume")
		},
	}.command(a)
}
