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
	l := vmList{a: a, want: func(api.VM) bool { return true }, none: "no VMs; `banger vm run` makes one"}
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List all VMs",
		Example: "  banger vm list\n  banger vm list --json\n  banger vm list -q",
		Args:    noArgs,
		RunE:    l.run,
	}
	l.flags(cmd)
	return cmd
}

// vmList is one `vm list` or `ps`.
type vmList struct {
	a               *app
	want            func(api.VM) bool
	none            string // is printed if there is none
	asJSON, quietly bool
}

func (l *vmList) flags(cmd *cobra.Command) {
	addJSON(cmd, &l.asJSON)
	cmd.Flags().BoolVarP(&l.quietly, "quiet", "q", false, "print names only")
}

func (l *vmList) run(cmd *cobra.Command, _ []string) error {
	c, err := l.a.client()
	if err != nil {
		return err
	}
	vms, err := c.VMs().List(cmd.Context())
	if err != nil {
		return err
	}
	vms = slices.DeleteFunc(vms, func(vm api.VM) bool { return !l.want(vm) })
	if vms == nil {
		vms = []api.VM{}
	}
	std := l.a.std
	switch {
	case l.asJSON:
		return printJSON(std.out, "vms", vms)
	case l.quietly:
		for _, vm := range vms {
			if _, err := fmt.Fprintln(std.out, vm.Name); err != nil {
				return err
			}
		}
		return nil
	case len(vms) == 0:
		std.note("%s", l.none)
		return nil
	}
	if err := vmTable(vms, time.Now()).write(std.out); err != nil {
		return err
	}
	for _, vm := range vms {
		if vm.Reason != "" && (vm.State == api.StateRunning || vm.State == api.StatePaused) {
			std.note("VM %s: %s", vm.Name, vm.Reason)
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
