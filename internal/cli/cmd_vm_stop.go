package cli

import (
	"context"
	"fmt"
	"math"
	"time"

	"banger/api"
	"banger/client"

	"github.com/spf13/cobra"
)

func newVMStop(a *app) *cobra.Command {
	var grace time.Duration
	cmd := eachCommand{
		of:  vmKind,
		use: "stop", short: "Shut VMs down",
		long: `Shut VMs down cleanly: processes get SIGTERM, file systems are synced and
unmounted. A guest that takes longer than the grace time is killed. The disk
stays.`,
		example: "  banger vm stop dev\n  banger vm stop --grace 30s dev web-1",
		work: func(ctx context.Context, c *client.Client, name string, report api.Report) error {
			_, err := c.VMs().Stop(ctx, name, api.StopVM{GraceSeconds: int(math.Ceil(grace.Seconds()))}, report)
			return err
		},
	}.command(a)
	cmd.Flags().DurationVar(&grace, "grace", 0, "how long the guest may take (default: the configured 10s)")
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if cmd.Flags().Changed("grace") && (grace <= 0 || grace > 24*time.Hour) {
			return &usageError{
				err:     fmt.Errorf("cannot use --grace %s: it must be positive and at most 24h; `banger vm kill` does not wait", grace),
				command: cmd.CommandPath(),
			}
		}
		return nil
	}
	return cmd
}
