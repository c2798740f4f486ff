package client

import (
	"context"

	"banger/api"
)

// Snapshots has the requests about snapshots of VMs.
type Snapshots struct{ of resource[api.Snapshot] }

// List returns the snapshots, oldest first.
func (s Snapshots) List(ctx context.Context) ([]api.Snapshot, error) {
	var list api.SnapshotList
	err := s.of.t.get(ctx, s.of.path, &list)
	return list.Snapshots, err
}

// Show returns the snapshot of a name or id.
func (s Snapshots) Show(ctx context.Context, ref string) (api.Snapshot, error) {
	return s.of.show(ctx, ref)
}

// Create makes a snapshot of a running VM, which goes on. api.CreateVM.From begins a VM with it.
func (s Snapshots) Create(ctx context.Context, vm string, req api.SnapshotVM, report api.Report) (api.Snapshot, error) {
	return s.of.operate(ctx, at("/v1/vms", vm, "snapshot"), req, report)
}

// Delete deletes a snapshot. VMs that began with it keep what they have.
func (s Snapshots) Delete(ctx context.Context, ref string) error { return s.of.remove(ctx, ref) }
