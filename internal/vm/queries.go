package vm

import (
	"context"
	"path/filepath"
	"slices"
	"time"

	"banger/api"
	"banger/internal/paths"
	"banger/internal/vm/disks"
	"banger/internal/vm/idle"
	"banger/internal/vm/records"
	"banger/internal/vm/snapshots"
)

// Queries answers what VMs there are, and how they are.
type Queries struct {
	table *records.Table
	paths paths.Paths
	disks *disks.Disks
	host  *hostSide
	idle  *idle.Watcher

	snapshots snapshots.Store
}

// addressTime bounds the question for the addresses of a list: a root helper that is being restarted
// does not hold up a list, nor the completion of names, which takes half a second at most.
const addressTime = 300 * time.Millisecond

// List returns all VMs, oldest first, with their addresses if those are known at once.
func (q *Queries) List(ctx context.Context) ([]api.VM, error) {
	all := q.table.List()
	ctx, cancel := context.WithTimeout(ctx, addressTime)
	defer cancel()
	q.host.addAddresses(ctx, all)
	return all, nil
}

// Find returns the record of one VM, by id or name.
func (q *Queries) Find(ref string) (api.VM, error) {
	at, err := q.table.Look(ref)
	if err != nil {
		return api.VM{}, err
	}
	return at.View(), nil
}

// Show returns one VM, by id or name, with its disk usage and address.
func (q *Queries) Show(ctx context.Context, ref string) (api.VM, error) {
	v, err := q.Find(ref)
	if err != nil {
		return api.VM{}, err
	}
	v.DiskUsage, v.Idle = q.diskUsage(ctx, v), q.idle.View(v)
	q.lookWhetherItStands(ctx, &v)
	one := []api.VM{v}
	q.host.addAddresses(ctx, one)
	return one[0], nil
}

// ShowAll returns all VMs with their disk usage.
func (q *Queries) ShowAll(ctx context.Context) ([]api.VM, error) {
	all, err := q.List(ctx)
	for i, v := range all {
		all[i].DiskUsage = q.diskUsage(ctx, v)
	}
	return all, err
}

// diskUsage returns how full a VM's disk is: the size that its file occupies, or device-mapper's
// usage if that has it. It returns nil if neither is known.
func (q *Queries) diskUsage(ctx context.Context, v api.VM) *api.DiskUsage {
	if u := q.host.diskUsage(ctx, v); u != nil {
		return u
	}
	return q.disks.Usage(v)
}

// lookWhetherItStands marks a running VM as paused if its VMM reports that it is stopped.
func (q *Queries) lookWhetherItStands(ctx context.Context, v *api.VM) {
	e := q.table.ByID(v.ID)
	if e == nil || v.State != api.StateRunning {
		return
	}
	r := e.Run()
	if r == nil {
		return
	}
	if why := r.Standing(ctx); why != "" {
		v.State, v.Reason = api.StatePaused, why
	}
}

// InUse returns what uses an image or kernel: the names of VMs, and snapshots. A VM for which that is
// unknown may use any.
func (q *Queries) InUse(digest string) []string {
	return append(q.table.InUse(digest), q.snapshots.InUse(digest)...)
}

// DisksInUse returns the sizes of the image's disks that VMs and snapshots are made from:
// copy-on-write disks need their base as long as they exist. known is false while that is unknown for
// a VM.
func (q *Queries) DisksInUse(digest string) (sizes []int64, known bool) {
	sizes, known = q.table.DisksInUse(digest)
	sizes = append(sizes, q.snapshots.DisksInUse(digest)...)
	slices.Sort(sizes)
	return slices.Compact(sizes), known
}

// Wait waits until the VM is not running, and returns it.
func (q *Queries) Wait(ctx context.Context, ref string) (api.VM, error) {
	e, err := q.table.Find(ref)
	if err != nil {
		return api.VM{}, err
	}
	if err := e.AwaitRecovery(ctx); err != nil {
		return api.VM{}, err
	}
	if r := e.Run(); r != nil {
		select {
		case <-r.Gone():
		case <-ctx.Done():
			return api.VM{}, context.Cause(ctx)
		}
	}
	return e.Record(), nil
}

// ConsolePath returns the path of a VM's console log, and a channel that is closed
// when nothing more will be written to it.
func (q *Queries) ConsolePath(_ context.Context, ref string) (string, <-chan struct{}, error) {
	at, err := q.table.Look(ref)
	if err != nil {
		return "", nil, err
	}
	path := filepath.Join(q.paths.VM(at.Entry.ID()), paths.VMConsole)
	if at.Run != nil {
		return path, at.Run.Gone(), nil
	}
	done := make(chan struct{})
	close(done)
	return path, done, nil
}
