package cli

import (
	"strings"

	"banger/internal/system"

	"github.com/spf13/cobra"
)

func newSystemUninstall(a *app) *cobra.Command {
	var o system.UninstallOptions
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Remove the service, and with --purge the VMs",
		Long: `Remove the service: daemons, units, programs, and all kernel objects of VMs.
VMs, images and settings stay for a later installation, unless --purge removes
them too; then the machine is as it was before. While VMs run or an update is in
progress this is refused, unless --force stops these first.`,
		Example: "  sudo banger system uninstall\n  sudo banger system uninstall --purge --force",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			left, err := thisMachine().Uninstall(cmd.Context(), o, a.std.step)
			if err != nil {
				return err
			}
			if len(left) == 0 {
				a.std.note("banger is removed completely")
				return nil
			}
			a.std.note("VMs, images and settings are left; to remove them: sudo rm -r %s", strings.Join(left, " "))
			return nil
		},
	}
	cmd.Flags().BoolVar(&o.Purge, "purge", false, "remove VMs, images and settings too")
	cmd.Flags().BoolVar(&o.Force, "force", false, "stop running VMs, and an update")
	return cmd
}
