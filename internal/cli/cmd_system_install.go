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
		Long: `Install banger as a service of this machine, or refresh an installation with the
programs that lie beside this one. It returns when both daemons answer. VMs run
on.

The owner is the one user whose VMs they are: of a new installation the user who
typed sudo where --owner names nobody.

Where KVM works and there is no Firecracker, it offers to get it; --firecracker gets
it without a question, and in any case the newest (banger system firecracker).`,
		Example: "  sudo banger system install --owner alice\n  sudo banger system install --owner alice --firecracker\n  sudo banger system install   # again: new programs and units, the same owner",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := programDir()
			if err != nil {
				return err
			}
			build := buildinfo.Get()
			h := a.machine()
			r, err := h.Install(cmd.Context(), system.InstallOptions{
				Owner: owner, Fallback: a.env("SUDO_USER"), From: dir,
				Build: system.Build{Version: build.Version, Commit: build.Commit},
			}, a.step)
			if err != nil {
				return err
			}
			if _, err = fmt.Fprintf(a.out, "banger %s is installed for %s\n", r.Version, r.Owner); err != nil {
				return err
			}
			return a.offerFirecracker(cmd.Context(), h, firecracker)
		},
	}
	cmd.Flags().StringVar(&owner, "owner", "", "the `USER` whose VMs they are")
	cmd.Flags().BoolVar(&firecracker, "firecracker", false, "get the newest Firecracker, too")
	return cmd
}
