// Package roothost has the root helper create and remove what a running VM needs of the host.
package roothost

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"banger/api"
	"banger/internal/host/network"
	"banger/internal/rootapi"
)

// Helper is bangerd-root, as rootapi.Client reaches it.
type Helper interface {
	Do(ctx context.Context, call rootapi.Call, answer any, files ...*os.File) ([]*os.File, error)
}

// Host makes bangerd-root create the host's objects of a running VM. It implements vm.Host.
type Host struct {
	Helper Helper
	// Snapshots is the name of the disk driver whose files are copy-on-write files
	// of device-mapper snapshots; those of all others are whole disks.
	Snapshots string
}

func vmOf(id string) rootapi.VM { return rootapi.VM{ID: id} }

func (h Host) do(ctx context.Context, call rootapi.Call, files ...*os.File) error {
	_, err := h.Helper.Do(ctx, call, nil, files...)
	return err
}

// AttachDisk implements vm.Host.
func (h Host) AttachDisk(ctx context.Context, v api.VM, base, path string) error {
	own, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return api.Errorf(api.KindNotFound, "the disk of VM %s is not there: %w", v.Name, err).WithHint("banger vm delete %s", v.Name)
	}
	if err != nil {
		return api.Errorf(api.KindInternal, "cannot open the disk of VM %s: %w", v.Name, err)
	}
	defer own.Close()
	if !h.Snapshot(v) {
		return h.do(ctx, rootapi.DiskAttachCall{VM: vmOf(v.ID), Mode: rootapi.Plain}, own)
	}
	image, err := os.Open(base)
	if err != nil {
		return api.Errorf(api.KindInternal, "cannot open the image of VM %s: %w", v.Name, err)
	}
	defer image.Close()
	return h.do(ctx, rootapi.DiskAttachCall{VM: vmOf(v.ID), Mode: rootapi.Snapshot}, image, own)
}

// Snapshot implements vm.Host.
func (h Host) Snapshot(v api.VM) bool { return v.DiskDriver == h.Snapshots }

// AttachNetwork implements vm.Host.
func (h Host) AttachNetwork(ctx context.Context, v api.VM) error {
	return h.do(ctx, rootapi.NetAttachCall{
		VM: vmOf(v.ID), Slot: v.Slot, None: v.Network == api.NetworkNone, Isolated: v.Network == api.NetworkIsolated,
	})
}

// Kill implements vm.Host.
func (h Host) Kill(ctx context.Context, id string) error {
	return h.do(ctx, rootapi.VMKillCall{VM: vmOf(id)})
}

// Release implements vm.Host.
func (h Host) Release(ctx context.Context, id string) error {
	return h.do(ctx, rootapi.VMReleaseCall{VM: vmOf(id)})
}

// Addresses implements vm.Host. An address follows from the VM's number and the prefix that the
// helper was installed with.
func (h Host) Addresses(ctx context.Context, vms []api.VM) []string {
	addresses := make([]string, len(vms))
	var hello rootapi.HelloAnswer
	if _, err := h.Helper.Do(ctx, rootapi.HelloCall{}, &hello); err != nil {
		return addresses
	}
	for i, v := range vms {
		// The user id does not matter here, but must be one.
		plan, err := network.New(network.Spec{ID: v.ID, Slot: v.Slot, Outer: hello.Outer, UID: 1})
		if err == nil {
			addresses[i] = plan.Outer.Addr().String()
		}
	}
	return addresses
}

// DiskUsage implements vm.Host.
func (h Host) DiskUsage(ctx context.Context, v api.VM) (*api.DiskUsage, error) {
	if !h.Snapshot(v) {
		return nil, nil
	}
	var u rootapi.DiskUsage
	if _, err := h.Helper.Do(ctx, rootapi.DiskStatusCall{VM: vmOf(v.ID)}, &u); err != nil {
		return nil, err
	}
	return &api.DiskUsage{UsedBytes: u.UsedBytes, TotalBytes: u.TotalBytes, Broken: u.Broken}, nil
}

// Objects implements vm.Host.
func (h Host) Objects(ctx context.Context) ([]api.HostObject, error) {
	var held rootapi.ListAnswer
	if _, err := h.Helper.Do(ctx, rootapi.ListCall{}, &held); err != nil {
		return nil, err
	}
	all := make([]api.HostObject, 0, len(held.Objects))
	for _, o := range held.Objects {
		all = append(all, api.HostObject{Kind: o.Kind, Name: o.Name, ID: o.ID})
	}
	return all, nil
}
