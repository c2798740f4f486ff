package cli

import (
	"fmt"

	"banger/api"
	"banger/internal/config"

	"github.com/spf13/cobra"
)

func newVMSet(a *app) *cobra.Command {
	var memory, vcpu string
	cmd := &cobra.Command{
		Use:   "set NAME",
		Short: "Change the memory and processors of a stopped VM",
		Long: `Change the memory and processors of a stopped VM, from its next start on. The size
of its disk stays: for a larger disk, create an image from the VM and a new VM from
that image ("banger vm commit", "banger vm create --image --disk").`,
		Example:           "  banger vm set dev --memory 4G\n  banger vm set dev --vcpu 4 --memory 8G",
		Args:              arguments(1, 1, "the name of a VM"),
		ValidArgsFunction: a.completeArgs(1, a.vmNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			var req api.SetVM
			if cmd.Flags().Changed("memory") {
				n, err := config.ParseMemory(memory)
				if err != nil {
					return usagef(cmd, "cannot use --memory: %w", err)
				}
				req.MemoryBytes = &n
			}
			if cmd.Flags().Changed("vcpu") {
				n, err := config.ParseVCPUs(vcpu)
				if err != nil {
					return usagef(cmd, "cannot use --vcpu: %w", err)
				}
				req.VCPUs = &n
			}
			if req == (api.SetVM{}) {
				return usagef(cmd, "nothing to change: give --memory or --vcpu")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			vm, err := c.SetVM(cmd.Context(), args[0], req)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.out, vm.Name)
			return err
		},
	}
	cmd.Flags().StringVar(&memory, "memory", "", "memory, such as 512M or 4G")
	cmd.Flags().StringVar(&vcpu, "vcpu", "", "number of processors")
	return cmd
}
