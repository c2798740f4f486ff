package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"banger/api"
	"banger/internal/size"

	"github.com/spf13/cobra"
)

func newVMList(a *app) *cobra.Command {
	var asJSON, quietly bool
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List all VMs",
		Example: "  banger vm list\n  banger vm list --json\n  banger vm list -q",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.listVMs(cmd, asJSON, quietly, func(api.VM) bool { return true },
				"no VMs; `banger vm run` makes one")
		},
	}
	addJSON(cmd, &asJSON)
	cmd.Flags().BoolVarP(&quietly, "quiet", "q", false, "print names only")
	return cmd
}

func (a *app) listVMs(cmd *cobra.Command, asJSON, quietly bool, want func(api.VM) bool, none string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	vms, err := c.VMs().List(cmd.Context())
	if err != nil {
		return err
	}
	vms = slices.DeleteFunc(vms, func(vm api.VM) bool { return !want(vm) })
	if vms == nil {
		vms = []api.VM{}
	}
	switch {
	case asJSON:
		return printJSON(a.out, "vms", vms)
	case quietly:
		for _, vm := range vms {
			if _, err := fmt.Fprintln(a.out, vm.Name); err != nil {
				return err
			}
		}
		return nil
	case len(vms) == 0:
		a.note("%s", none)
		return nil
	}
	if err := vmTable(vms, time.Now()).write(a.out); err != nil {
		return err
	}
	for _, vm := range vms {
		if vm.Reason != "" && (vm.State == api.StateRunning || vm.State == api.StatePaused) {
			a.note("VM %s: %s", vm.Name, vm.Reason)
		}
	}
	return nil
}

func vmTable(vms []api.VM, now time.Time) *table {
	t := newTable("NAME", "STATE", "SINCE", "VCPUS", "MEMORY", "DISK", "IMAGE", "ACCEL")
	for _, vm := range vms {
		t.add(vm.Name, string(vm.State), since(vm, now), strconv.Itoa(vm.VCPUs),
			size.Format(vm.MemoryBytes), diskSize(vm), vm.Image, cmp.Or(vm.Accel, "-"))
	}
	return t
}

// diskSize is unknown while the image that determines it is being fetched.
func diskSize(vm api.VM) string {
	if vm.DiskSize() == 0 {
		return "-"
	}
	return size.Format(vm.DiskSize())
}

// since returns when the VM entered its state, as far as known.
func since(vm api.VM, now time.Time) string {
	at := vm.CreatedAt
	switch {
	case vm.State == api.StateRunning && vm.StartedAt != nil:
		at = *vm.StartedAt
	case vm.State == api.StateStopped && vm.StoppedAt != nil:
		at = *vm.StoppedAt
	}
	return ago(now, at)
}
