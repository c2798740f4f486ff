package cli

import (
	"banger/internal/daemonstart"
	"banger/internal/paths"

	"github.com/spf13/cobra"
)

func newDaemonStop(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "stop",
		Short:   "Stop the daemon; VMs keep running",
		Example: "  banger daemon stop",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := paths.Choose()
			if err != nil {
				return err
			}
			if p.Managed {
				return ofSystemd("stop")
			}
			if err := daemonstart.StopAndWait(cmd.Context(), p); err != nil {
				return notRunning(err, p)
			}
			a.std.note("the daemon has stopped")
			return nil
		},
	}
}
