package cli

import (
	"banger/api"

	"github.com/spf13/cobra"
)

func newPs(a *app) *cobra.Command {
	l := vmList{
		a: a, none: "no VM is running; `banger vm list` shows all",
		want: func(vm api.VM) bool { return vm.State == api.StateRunning || vm.State == api.StatePaused },
	}
	cmd := &cobra.Command{
		Use:     "ps",
		Short:   "List running VMs",
		Example: "  banger ps\n  banger ps --json",
		Args:    noArgs,
		RunE:    l.run,
	}
	l.flags(cmd)
	return cmd
}
