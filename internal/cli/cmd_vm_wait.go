package cli

import (
	"context"

	"banger/api"

	"github.com/spf13/cobra"
)

func newVMWait(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "wait NAME...",
		Short: "Wait until VMs have stopped",
		Long: `Wait until VMs have stopped, and print the final state of each. The exit status is
1 if a VM failed.`,
		Example:           "  banger vm wait dev\n  banger vm wait dev && echo stopped",
		Args:              arguments(1, -1, "the name of a VM"),
		ValidArgsFunction: completeArgs(-1, vmNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.each(cmd.Context(), args, func(ctx context.Context, name string, _ api.Report) (string, error) {
				vm, err := c.VMs().Show(ctx, name)
				if err == nil { // by its id: it may be renamed during the wait
					vm, err = c.VMs().Wait(ctx, vm.ID)
				}
				if err == nil && vm.State == api.StateFailed {
					err = api.Errorf(api.KindConflict, "%s failed: %s", name, vm.Reason).WithHint("banger vm logs %s", name)
				}
				return name + " " + string(vm.State), err
			})
		},
	}
}
