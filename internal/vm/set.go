package vm

import (
	"context"

	"banger/api"
	"banger/internal/paths"
	"banger/internal/size"
	"banger/internal/vm/disks"
	"banger/internal/vm/records"
)

// Changer changes VMs that exist, and makes images of them.
type Changer struct {
	paths  paths.Paths
	images Images
	limits Limits
	table  *records.Table
	disks  *disks.Disks
	ops    *operations
}

// Rename gives a VM a new name. The guest gets it as its host name at its next start.
func (c *Changer) Rename(ctx context.Context, ref, name string) (api.VM, error) {
	if err := records.CheckName(name); err != nil {
		return api.VM{}, err
	}
	e, err := c.table.Claim(ref, "vm.rename", nil)
	if err != nil {
		return api.VM{}, err
	}
	defer e.Release()
	return e.Answer(ctx, func(v *api.VM) { v.Name = name })
}

// Set changes the size of a VM that does not run: it has that from its next start on. What is
// recorded counts: the start makes the disk's file as long as that (disks.Ready), and the agent
// the file system in it.
func (c *Changer) Set(ctx context.Context, ref string, req api.SetVM) (api.VM, error) {
	e, err := c.table.Claim(ref, "vm.set", func(at records.Snapshot) error { return mayBeSet(at.VM, at.Run != nil || at.Recovering) })
	if err != nil {
		return api.VM{}, err
	}
	defer e.Release()
	v := e.Record()
	if req.VCPUs != nil {
		v.VCPUs = *req.VCPUs
	}
	if req.MemoryBytes != nil {
		v.MemoryBytes = *req.MemoryBytes
	}
	if req.DiskBytes != nil {
		if err := growDisk(&v, *req.DiskBytes); err != nil {
			return api.VM{}, err
		}
	}
	sizes := v
	sizes.DiskBytes = v.DiskSize()
	if err := c.limits.check(sizes, c.paths.Data); err != nil {
		return api.VM{}, err
	}
	err = e.Update(ctx, func(to *api.VM) { to.VCPUs, to.MemoryBytes, to.GrownBytes = v.VCPUs, v.MemoryBytes, v.GrownBytes })
	if err != nil {
		return api.VM{}, err
	}
	return e.View(), nil
}

// mayBeSet refuses a VM that runs or may be running.
func mayBeSet(v api.VM, runs bool) error {
	if !runs {
		return nil
	}
	return api.Errorf(api.KindConflict, "cannot change VM %s while it runs", v.Name).
		WithHint("banger vm stop %s, then the same again, then banger vm start %s", v.Name, v.Name)
}

// growDisk records that a disk is to be larger. What is on it could not be kept in a smaller one.
func growDisk(v *api.VM, to int64) error {
	switch has := v.DiskSize(); {
	case v.DiskDriver == "":
		return api.Errorf(api.KindConflict, "cannot change the size of the disk of VM %s: it was not made yet", v.Name).
			WithHint("banger vm show %s", v.Name)
	case to < has:
		return api.Errorf(api.KindInvalid, "cannot make the disk of VM %s smaller, from %s to %s: a disk only grows, as what is on it may be anywhere in it", v.Name, size.Format(has), size.Format(to)).
			WithHint("choose a --disk of more than %s; or make a smaller VM, and copy what you need with banger vm cp", size.Format(has))
	case to > has:
		v.GrownBytes = to
	}
	return nil
}
