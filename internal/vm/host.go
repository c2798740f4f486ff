package vm

import (
	"context"

	"banger/api"
	"banger/internal/op"
	"banger/internal/vm/disks"
	"banger/internal/vm/records"
)

// Host creates and removes the host's objects of a running VM that only root may create. User mode has
// none. All methods are idempotent: removing an absent object succeeds.
type Host interface {
	// AttachDisk creates a block device for the VM's disk: base is the image's file, path the disk
	// driver's.
	AttachDisk(ctx context.Context, v api.VM, base, path string) error
	AttachNetwork(ctx context.Context, v api.VM) error
	// Kill ends whatever runs for a VM, even if it is not proven to be its VMM.
	Kill(ctx context.Context, id string) error
	// Release removes all objects of the host of a VM that is not running.
	Release(ctx context.Context, id string) error
	// Snapshot reports whether the VM's disk is attached as a device-mapper snapshot.
	Snapshot(v api.VM) bool
	// Addresses returns the addresses of running VMs for the host, in their order; "" if one is unknown.
	Addresses(ctx context.Context, vms []api.VM) []string
	// DiskUsage returns how full an attached disk is.
	DiskUsage(ctx context.Context, v api.VM) (*api.DiskUsage, error)
	// Objects lists the host's objects of all VMs.
	Objects(ctx context.Context) ([]api.HostObject, error)
}

// hostSide is what plans and queries need of the host. In user mode it has no steps and knows nothing.
type hostSide struct {
	host  Host // nil in user mode
	disks *disks.Disks
}

// userMode reports whether there is nothing that root makes for VMs.
func (h *hostSide) userMode() bool { return h.host == nil }

// attachSteps attach the objects that the VMM needs, before it starts. They are released when the VMM has
// ended, or by the first step's undo.
func (h *hostSide) attachSteps(e *records.Entry) []op.Step {
	if h.host == nil {
		return nil
	}
	return []op.Step{
		{Name: "attach", Do: h.attachDisk(e), Undo: func(ctx context.Context) error { return h.host.Release(ctx, e.ID()) }},
		{Name: "network", Do: func(ctx context.Context, _ api.Report) error {
			if e.Run() != nil {
				return nil
			}
			return h.host.AttachNetwork(ctx, e.Record())
		}},
	}
}

func (h *hostSide) attachDisk(e *records.Entry) func(context.Context, api.Report) error {
	return func(ctx context.Context, report api.Report) error {
		if e.Run() != nil {
			return nil
		}
		v := e.Record()
		base, err := h.disks.Ready(ctx, e, report)
		if err != nil {
			return err
		}
		return h.host.AttachDisk(ctx, v, base, h.disks.Path(v.ID))
	}
}

// releaseSteps release the objects of a VM that an operation has ended. The end of its VMM has
// released them already, unless the daemon was killed between the two.
func (h *hostSide) releaseSteps(e *records.Entry) []op.Step {
	if h.host == nil {
		return nil
	}
	return []op.Step{{Name: "release", Stays: true, Do: func(ctx context.Context, _ api.Report) error {
		v := e.Record()
		if v.DiskDriver == "" { // it never had what is attached
			return nil
		}
		return h.host.Release(ctx, v.ID)
	}}}
}

// kill ends whatever runs for a VM.
func (h *hostSide) kill(ctx context.Context, id string) error { return h.host.Kill(ctx, id) }

// addAddresses adds their addresses to VMs that have one now.
func (h *hostSide) addAddresses(ctx context.Context, vms []api.VM) {
	var have []int
	var asked []api.VM
	for i, v := range vms {
		if h.host != nil && v.PID > 0 && v.Network != api.NetworkNone {
			have, asked = append(have, i), append(asked, v)
		}
	}
	if len(asked) == 0 {
		return
	}
	for i, address := range h.host.Addresses(ctx, asked) {
		vms[have[i]].Address = address
	}
}

// diskUsage returns how full the attached disk of a VM is, or nil if that is unknown.
func (h *hostSide) diskUsage(ctx context.Context, v api.VM) *api.DiskUsage {
	if h.host == nil || v.PID <= 0 {
		return nil
	}
	u, err := h.host.DiskUsage(ctx, v)
	if err != nil {
		return nil
	}
	return u
}
