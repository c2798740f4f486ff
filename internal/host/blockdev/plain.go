package blockdev

import (
	"context"
	"os"

	"banger/internal/vmid"
)

// AttachPlain makes the VM's device over its own file, as a loop device. It returns an
// existing device over the same file; one over another file is an error of kind
// api.KindConflict.
func AttachPlain(ctx context.Context, id string, file *os.File) (Device, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	d, err := attachPlain(ctx, id, file)
	if err != nil {
		return Device{}, failure("attach", id, err)
	}
	return d, nil
}

func attachPlain(ctx context.Context, id string, file *os.File) (Device, error) {
	b, err := newBacking("disk's file", file, vmid.Device(id), 0)
	if err != nil {
		return Device{}, err
	}
	unlock, err := lockVM(ctx, id)
	if err != nil {
		return Device{}, err
	}
	defer unlock()
	l, err := acquire(ctx, b)
	if err != nil {
		return Device{}, err
	}
	defer l.close()
	return l.device, nil
}
