package cli

import (
	"fmt"

	"banger/api"
	"banger/internal/config"

	"github.com/spf13/cobra"
)

func newVMSet(a *app) *cobra.Command {
	var memory, vcpu, disk string
	cmd := &cobra.Command{
		Use:   "set NAME",
		Short: "Change the memory, processors and disk of a stopped VM",
		Long: `Change the memory, the processors and the size of the disk of a stopped VM, from its
next start on. A disk grows, with the file system in it; it never shrinks.`,
		Example:           "  banger vm set dev --memory 4G\n  banger vm set dev --vcpu 4 --memory 8G\n  banger vm set dev --disk 32G",
		Args:              arguments(1, 1, "the name of a VM"),
		ValidArgsFunction: completeArgs(1, vmNames),
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
			if cmd.Flags().Changed("disk") {
				n, err := config.ParseDisk(disk)
				if err != nil {
					return usagef(cmd, "cannot use --disk: %w", err)
				}
				req.DiskBytes = &n
			}
			if req == (api.SetVM{}) {
				return usagef(cmd, "nothing to change: give --memory, --vcpu or --disk")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			vm, err := c.VMs().Set(cmd.Context(), args[0], req)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.std.out, vm.Name)
			return err
		},
	}
	cmd.Flags().StringVar(&memory, "memory", "", "memory, such as 512M or 4G")
	cmd.Flags().StringVar(&disk, "disk", "", "size of the disk, such as 32G, no less than it has")
	cmd.Flags().StringVar(&vcpu, "vcpu", "", "number of processors")
	return cmd
}
