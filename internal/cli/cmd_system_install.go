package cli

import (
	"fmt"

	"banger/internal/buildinfo"
	"banger/internal/system"

	"github.com/spf13/cobra"
)

func newSystemInstall(a *app) *cobra.Command {
	var owner string
	var firecracker bool
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Install or refresh the service",
		Long: `Install banger as a system service, or refresh an installation with the programs
beside this one. It returns when both daemons answer. VMs keep running.

The owner is the user whose VMs they are. The default for a new installation is the
user who typed sudo.

If KVM works and Firecracker is missing, it offers to install it; --firecracker
installs the newest without asking (banger system firecracker).`,
		Example: "  sudo banger system install --owner alice\n  sudo banger system install --owner alice --firecracker\n  sudo banger system install   # again: new programs and units, same owner",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := programDir()
			if err != nil {
				return err
			}
			build := buildinfo.Get()
			h := thisMachine()
			r, err := h.Install(cmd.Context(), system.InstallOptions{
				Owner: owner, Fallback: a.std.env("SUDO_USER"), From: dir,
				Build: system.Build{Version: build.Version, Commit: build.Commit},
			}, a.std.step)
			if err != nil {
				return err
			}
			if _, err = fmt.Fprintf(a.std.out, "banger %s is installed for %s\n", r.Version, r.Owner); err != nil {
				return err
			}
			return firecrackerSetup{a.std, h}.offer(cmd.Context(), firecracker)
		},
	}
	cmd.Flags().StringVar(&owner, "owner", "", "the `USER` whose VMs they are")
	cmd.Flags().BoolVar(&firecracker, "firecracker", false, "also install the newest Firecracker")
	return cmd
}
