package cli

import (
	"context"

	"banger/api"
	"banger/client"

	"github.com/spf13/cobra"
)

func newVMDelete(a *app) *cobra.Command {
	var force, all bool
	cmd := &cobra.Command{
		Use:     "delete NAME...",
		Aliases: []string{"rm"},
		Short:   "Delete VMs with their disks",
		Long: `Delete VMs with their disks. A running VM is refused without --force. --all
deletes every VM that is not running, or with --force every VM.`,
		Example: `  banger vm delete dev
  banger vm delete --force dev web-1
  banger vm delete --all`,
		ValidArgsFunction: completeArgs(-1, vmNames),
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case all && len(args) > 0:
				return usagef(cmd, "--all takes no names, got %q", args[0])
			case !all && len(args) == 0:
				return usagef(cmd, "%s needs the name of a VM, or --all", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if all {
				c, err := a.client()
				if err != nil {
					return err
				}
				vms, err := c.VMs().List(cmd.Context())
				if err != nil {
					return err
				}
				var running int
				args, running = deletable(vms, force)
				switch {
				case running > 0:
					a.std.note("not deleted because they are running: %d (--force deletes them too)", running)
				case len(args) == 0:
					a.std.note("no VMs to delete")
				}
			}
			return a.runEach(cmd.Context(), args, func(ctx context.Context, c *client.Client, name string, report api.Report) error {
				return c.VMs().Delete(ctx, name, force, report)
			})
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "delete running VMs, too")
	cmd.Flags().BoolVar(&all, "all", false, "all VMs that are not running; with --force, all")
	return cmd
}

// deletable returns the names of the VMs that --all means, and how many it leaves because
// they run.
func deletable(vms []api.VM, force bool) (names []string, running int) {
	for _, vm := range vms {
		if !force && (runs(vm) || vm.State == api.StateSuspended) {
			running++
			continue
		}
		names = append(names, vm.Name)
	}
	return names, running
}
