package cli

import (
	"context"
	"fmt"
	"time"

	"banger/api"
	"banger/client"

	"github.com/spf13/cobra"
)

func newVMHold(a *app) *cobra.Command {
	var length string
	var release bool
	cmd := eachCommand{
		of:  vmKind,
		use: "hold", short: "Keep VMs awake that would be suspended when nobody uses them",
		long: `Keep VMs awake that "banger vm set --idle-suspend" would have suspended when nobody uses
them: until they are released, or for a time. A hold survives restarts of the VM and of the
daemon. It does not keep anybody from suspending a VM.`,
		example: "  banger vm hold dev\n  banger vm hold --for 2h dev\n  banger vm hold --release dev",
		work: func(ctx context.Context, c *client.Client, name string, _ api.Report) error {
			hold, err := holdRequest(length, release)
			if err == nil {
				_, err = c.VMs().Set(ctx, name, api.SetVM{Hold: &hold})
			}
			return err
		},
	}.command(a)
	cmd.Flags().StringVar(&length, "for", "", "hold them for this time, such as 2h (default: until they are released)")
	cmd.Flags().BoolVar(&release, "release", false, "hold them no longer")
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if release && cmd.Flags().Changed("for") {
			return usagef(cmd, "--for and --release exclude each other")
		}
		if _, err := holdRequest(length, release); err != nil {
			return usagef(cmd, "cannot use --for: %w", err)
		}
		return nil
	}
	return cmd
}

func holdRequest(length string, release bool) (api.HoldVM, error) {
	if length == "" {
		return api.HoldVM{Release: release}, nil
	}
	d, err := time.ParseDuration(length)
	if err != nil || d < time.Second {
		return api.HoldVM{}, fmt.Errorf("%.40q is not a time such as 30m or 2h", length)
	}
	return api.HoldVM{Seconds: int64(d / time.Second)}, nil
}
