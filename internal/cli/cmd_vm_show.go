package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"banger/api"
	"banger/client"
	"banger/internal/imageconfig"
	"banger/internal/label"
	"banger/internal/size"

	"github.com/spf13/cobra"
)

func newVMShow(a *app) *cobra.Command {
	var timing bool
	cmd := show[api.VM]{
		of: vmKind, many: "vms",
		example: "  banger vm show dev\n  banger vm show --timing dev\n  banger vm show --json dev",
		get: func(ctx context.Context, c *client.Client, name string) (api.VM, error) {
			return c.VMs().Show(ctx, name)
		},
		print: func(w io.Writer, vm api.VM) error {
			if err := fields(w, vmFields(vm)...); err != nil || !timing {
				return err
			}
			return fields(w, timingFields(vm.Timing)...)
		},
	}.command(a)
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
		"init", init, "tools", vm.Tools, "driver", driver, "vcpus", strconv.Itoa(vm.VCPUs), "memory", size.Format(vm.MemoryBytes),
		"disk", disk, "network", vm.Network, "address", vm.Address, "published", strings.Join(ports, ", "),
		"labels", label.Text(vm.Labels), "next start", strings.Join(nextStart(vm), ", "),
		"created", moment(&vm.CreatedAt), "started", moment(vm.StartedAt), "stopped", moment(vm.StoppedAt),
		"pid", pid, "boot id", vm.BootID, "removed", remove, "background", background, "idle", idleText(vm), "began as", originText(vm.Origin),
	}, configFields(vm.ImageConfig)...)
}

// idleText says when an unused VM is suspended, and what keeps it awake.
func idleText(vm api.VM) string {
	if vm.IdleSuspendSeconds == 0 {
		return ""
	}
	after := (time.Duration(vm.IdleSuspendSeconds) * time.Second).String()
	after = strings.Replace(strings.Replace(after, "m0s", "m", 1), "h0m", "h", 1)
	text := "suspended after " + after + " without use"
	if i := vm.Idle; i != nil && i.SuspendsAt != nil {
		text += ": at " + i.SuspendsAt.Local().Format(time.TimeOnly) + "; last use: " + i.Awake
	}
	return text
}

// nextStart returns what a running VM will have at its next start, and has not now.
func nextStart(vm api.VM) []string {
	n := vm.Next
	if n == nil {
		return nil
	}
	var list []string
	if n.VCPUs != 0 {
		list = append(list, plural(n.VCPUs, "vCPU"))
	}
	if n.MemoryBytes != 0 {
		list = append(list, size.Format(n.MemoryBytes)+" of memory")
	}
	if n.Network != "" {
		list = append(list, "network "+n.Network)
	}
	if n.DiskBytes != 0 {
		disk := "a disk of " + size.Format(n.DiskBytes)
		if n.DiskReason != "" {
			disk += " (" + n.DiskReason + ")"
		}
		list = append(list, disk)
	}
	return list
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
