package cli

import (
	"banger/api"

	"github.com/spf13/cobra"
)

func newPs(a *app) *cobra.Command {
	var asJSON, quietly bool
	cmd := &cobra.Command{
		Use:     "ps",
		Short:   "List running VMs",
		Example: "  banger ps\n  banger ps --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.listVMs(cmd, asJSON, quietly,
				func(vm api.VM) bool { return vm.State == api.StateRunning || vm.State == api.StatePaused },
				"no VM is running; `banger vm list` shows all")
		},
	}
	addJSON(cmd, &asJSON)
	cmd.Flags().BoolVarP(&quietly, "quiet", "q", false, "print names only")
	return cmd
}
