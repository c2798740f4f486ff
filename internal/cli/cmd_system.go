package cli

import (
	"os"
	"path/filepath"

	"banger/api"

	"github.com/spf13/cobra"
)

func newSystem(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "system",
		Short: "Install banger as a service of this machine",
		Long: `Install banger as a service of this machine: two daemons that systemd runs, one
as the owner of the VMs and a small one as root. Each VM then has a user id and
a network of its own, is jailed where Firecracker is there, and outlives both
daemons. Without an installation every user has VMs of their own, and nothing
runs as root.

The owner's commands, and root's, then go to this machine's daemon. BANGER_MODE
chooses: BANGER_MODE=user goes to the user's own, and so does BANGER_HOME.`,
		Example: "  sudo banger system install --owner alice\n  banger system status",
		Args:    noArgs,
		RunE:    showHelp,
	}
	cmd.AddCommand(newSystemInstall(a), newSystemFirecracker(a), newSystemStatus(a), newSystemRestart(a), newSystemUninstall(a))
	return cmd
}

// step tells of a step that begins.
func (a *app) step(what string) { a.note("%s", what) }

// programDir is where this program lies, and with it those that belong to it.
func programDir() (string, error) {
	self, err := os.Executable()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	if err != nil {
		return "", api.Errorf(api.KindInternal, "cannot find this program: %w", err)
	}
	return filepath.Dir(self), nil
}
