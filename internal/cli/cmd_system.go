package cli

import (
	"context"
	"os"
	"path/filepath"

	"banger/api"
	"banger/client"
	"banger/internal/paths"
	"banger/internal/system"

	"github.com/spf13/cobra"
)

func newSystem(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "system",
		Short: "Install banger as a service of this machine",
		Long: `Install banger as a service of this machine: two daemons that systemd runs, one
as the owner of the VMs and a small one as root. VMs are then isolated by
Firecracker's jailer where that is there, have a network and a user id each, and
outlive both daemons. Without it, every user has VMs of their own and nothing
runs as root.`,
		Example: "  sudo banger system install --owner $USER\n  banger system status",
		Args:    noArgs,
		RunE:    showHelp,
	}
	cmd.AddCommand(newSystemInstall(a), newSystemStatus(a), newSystemRestart(a), newSystemUninstall(a))
	return cmd
}

// machine is this machine, with what the CLI knows of the daemons.
func (a *app) machine() *system.Host {
	h := system.ThisHost()
	c := client.New(paths.System())
	h.AskDaemon = func(ctx context.Context) (system.Answer, error) {
		s, err := c.Status(ctx)
		return system.Answer{Version: s.Version, Running: s.Running}, err
	}
	h.AskHelper = askHelper
	h.StopVMs = func(ctx context.Context) error { return stopRunning(ctx, c) }
	h.RemoveTraces = removeTraces
	return h
}

// stopRunning stops every VM that runs, through the daemon.
func stopRunning(ctx context.Context, c *client.Client) error {
	vms, err := c.ListVMs(ctx)
	if err != nil {
		return err
	}
	var failed error
	for _, vm := range vms {
		if vm.State != api.StateRunning && vm.State != api.StatePaused {
			continue
		}
		if _, err := c.StopVM(ctx, vm.ID, api.StopVM{}, nil); err != nil {
			failed = err
		}
	}
	return failed
}

// step tells of a step of an installation.
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
