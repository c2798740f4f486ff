package vm

import (
	"context"

	"banger/api"
	"banger/internal/paths"
	"banger/internal/vm/disks"
	"banger/internal/vm/records"
)

// Changer changes VMs that exist, and makes images of them.
type Changer struct {
	paths  paths.Paths
	images Images
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
