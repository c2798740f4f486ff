package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"banger/api"
	"banger/internal/imageconfig"
	"banger/internal/size"

	"github.com/spf13/cobra"
)

func newVMShow(a *app) *cobra.Command {
	var asJSON, timing bool
	cmd := &cobra.Command{
		Use:               "show NAME...",
		Short:             "Show a VM in detail",
		Example:           "  banger vm show dev\n  banger vm show --timing dev\n  banger vm show --json dev",
		Args:              arguments(1, -1, "the name of a VM"),
		ValidArgsFunction: completeArgs(-1, vmNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return showAll(a, args, asJSON, "vm", "vms",
				func(name string) (api.VM, error) { return c.VMs().Show(cmd.Context(), name) },
				func(vm api.VM) error {
					if err := fields(a.std.out, vmFields(vm)...); err != nil || !timing {
						return err
					}
					return fields(a.std.out, timingFields(vm.Timing)...)
				})
		},
	}
	addJSON(cmd, &asJSON)
	cmd.Flags().BoolVar(&timing, "timing", false, "show how long each part of its latest start took")
	return cmd
}

// timingFields returns the steps of a start and their parts.
func timingFields(steps []api.StepTiming) []string {
	var list []string
	for _, s := range steps {
		list = append(list, strings.ReplaceAll(s.Step, "/", ": "), fmt.Sprintf("%.1f ms", s.Milliseconds))
	}
	return list
}

// showAll shows what each name stands for. As JSON, one is an object, several are a list.
// It asks for all in parallel: a VMM that hangs takes a second.
func showAll[T any](a *app, names []string, asJSON bool, one, many string, get func(string) (T, error), show func(T) error) error {
	got, errs := make([]T, len(names)), make([]error, len(names))
	inParallel(len(names), maxParallel, func(i int) { got[i], errs[i] = get(names[i]) })
	all := make([]T, 0, len(names))
	var failure error
	for i, v := range got {
		if err := errs[i]; err != nil {
			if len(names) == 1 {
				return err
			}
			a.std.printError(err)
			failure = statusError(exitFailed)
			continue
		}
		if all = append(all, v); asJSON {
			continue
		}
		if len(all) > 1 {
			if _, err := fmt.Fprintln(a.std.out); err != nil {
				return err
			}
		}
		if err := show(v); err != nil {
			return err
		}
	}
	var err error
	switch {
	case asJSON && len(names) == 1:
		err = printJSON(a.std.out, one, all[0])
	case asJSON:
		err = printJSON(a.std.out, many, all)
	}
	if err != nil {
		return err
	}
	return failure
}

func vmFields(vm api.VM) []string {
	pid := ""
	if vm.PID > 0 {
		pid = strconv.Itoa(vm.PID)
	}
	init := vm.Init
	if init == api.InitAgent {
		init = "" // the default
	}
	remove := ""
	if vm.AutoRemove {
		remove = "when it stops"
	}
	driver := vm.Driver
	if vm.Accel != "" {
		driver += " (" + vm.Accel + ")"
	}
	disk := fmt.Sprintf("%s (%s)", diskSize(vm), vm.DiskDriver)
	if u := vm.DiskUsage; u != nil && u.Broken != "" {
		disk += ", broken: " + u.Broken
	} else if u != nil {
		disk += ", " + size.Format(u.UsedBytes) + " used"
	}
	background := ""
	if exec, any := imageconfig.Background(vm.ImageConfig, vm.Background); any {
		background = words(exec.Argv)
	}
	var ports []string
	for _, p := range vm.Publish {
		ports = append(ports, p.String())
	}
	return append([]string{
		"name", vm.Name, "id", vm.ID, "state", string(vm.State), "reason", vm.Reason,
		"image", withDigest(vm.Image, vm.ImageDigest), "kernel", withDigest(vm.Kernel, vm.KernelDigest),
		"init", init, "driver", driver, "vcpus", strconv.Itoa(vm.VCPUs), "memory", size.Format(vm.MemoryBytes),
		"disk", disk, "network", vm.Network, "address", vm.Address, "published", strings.Join(ports, ", "),
		"created", moment(&vm.CreatedAt), "started", moment(vm.StartedAt), "stopped", moment(vm.StoppedAt),
		"pid", pid, "boot id", vm.BootID, "removed", remove, "background", background,
	}, configFields(vm.ImageConfig)...)
}

func withDigest(name, digest string) string {
	if digest == "" {
		return name
	}
	return fmt.Sprintf("%s (%s)", name, short(digest))
}

func moment(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05")
}
