package roothelper

import (
	"context"
	"os"

	"banger/api"
	"banger/internal/host/blockdev"
	"banger/internal/host/network"
	"banger/internal/rootapi"
)

func (h *Helper) diskAttach(ctx context.Context, c rootapi.DiskAttachCall, files []*os.File) (any, error) {
	var d blockdev.Device
	var err error
	if c.Mode == rootapi.Snapshot {
		d, err = h.Blocks.AttachSnapshot(ctx, c.ID, files[0], files[1])
	} else {
		d, err = h.Blocks.AttachPlain(ctx, c.ID, files[0])
	}
	return rootapi.Device{Name: d.Name, Major: d.Major, Minor: d.Minor}, err
}

func (h *Helper) diskStatus(_ context.Context, c rootapi.DiskStatusCall, _ []*os.File) (any, error) {
	u, err := h.Blocks.Status(c.ID)
	if err != nil {
		return nil, err
	}
	const sector = 512 // dm counts in sectors of 512 bytes (dmsetup(8))
	usage := rootapi.DiskUsage{UsedBytes: int64(u.Used) * sector, TotalBytes: int64(u.Total) * sector}
	switch {
	case u.Invalid:
		usage.Broken = "the host could not write to its copy-on-write file"
	case u.Overflow:
		usage.Broken = "its copy-on-write file is full"
	}
	return usage, nil
}

func (h *Helper) netAttach(ctx context.Context, c rootapi.NetAttachCall, _ []*os.File) (any, error) {
	if c.None {
		return nil, h.Networks.AttachNone(ctx, c.ID)
	}
	if c.Slot >= h.Settings.UIDCount {
		return nil, api.Errorf(api.KindInvalid, "slot %d is greater than %d, the number of slots of this installation", c.Slot, h.Settings.UIDCount)
	}
	plan, err := network.New(network.Spec{ID: c.ID, Slot: c.Slot, Outer: h.Settings.Outer, UID: h.Settings.uid(c.Slot), Isolated: c.Isolated})
	if err != nil {
		return nil, err
	}
	// The table must exist while the link is being created; afterwards clear finds the
	// link.
	done, err := h.shared.use(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := h.Firewall.Ensure(ctx); err != nil {
		return nil, err
	}
	return nil, h.Networks.Attach(ctx, plan)
}
