package cli

import (
	"github.com/spf13/cobra"
)

func newSystem(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "system",
		Short: "Install and manage banger as a system service",
		Long: `Install and manage banger as a system service: systemd runs two daemons, one as
the owner of the VMs and a small one as root. Each VM then has a user id and a
network of its own, is jailed if Firecracker is installed, and outlives both
daemons. Without an installation every user has their own VMs, and nothing runs
as root.

Commands of the owner and of root then use the system's daemon. To use a user's
own daemon instead, set BANGER_MODE=user or BANGER_HOME.`,
		Example: "  sudo banger system install --owner alice\n  banger system status",
		Args:    noArgs,
		RunE:    showHelp,
	}
	cmd.AddCommand(newSystemInstall(a), newSystemFirecracker(a), newSystemStatus(a), newSystemRestart(a), newSystemUninstall(a))
	return cmd
}
