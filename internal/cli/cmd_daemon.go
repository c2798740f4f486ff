package cli

import (
	"banger/client"
	"banger/internal/daemonstart"
	"banger/internal/paths"

	"github.com/spf13/cobra"
)

func newDaemon(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "daemon",
		Short: "Manage the daemon",
		Long: `Manage the daemon, bangerd, which does the work. Any command that needs it starts
it, and VMs keep running when it stops. After ` + "`banger system install`" + ` systemd runs it.`,
		Example: "  banger daemon status",
		Args:    noArgs,
		RunE:    showHelp,
	}
	cmd.AddCommand(newDaemonStatus(a), newDaemonRun(), newDaemonStop(a))
	return cmd
}

// runningClient returns a client that does not start the daemon.
func (a *app) runningClient() (*client.Client, paths.Paths, error) {
	p, err := paths.Choose()
	if err != nil {
		return nil, p, err
	}
	return daemonstart.Running(p), p, nil
}
