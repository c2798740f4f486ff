package blockdev

import (
	"errors"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/vmid"
)

// Lookup returns the VM's device, a snapshot or a plain one, if it has a working one.
func Lookup(id string) (d Device, found bool, err error) {
	if !vmid.Valid(id) {
		return Device{}, false, api.Errorf(api.KindInvalid, "%q is not a valid VM id", id)
	}
	if d, found, err = lookupMapped(id); err == nil && !found {
		d, found, err = lookupPlain(id)
	}
	if err != nil {
		err = failure("look up", id, err)
	}
	return d, found, err
}

func lookupMapped(id string) (Device, bool, error) {
	m, err := openMapper()
	if api.KindOf(err) == api.KindUnsupported {
		return Device{}, false, nil
	}
	if err != nil {
		return Device{}, false, err
	}
	defer m.close()
	a, err := m.status(vmid.Device(id))
	if errors.Is(err, unix.ENXIO) {
		return Device{}, false, nil
	}
	if err != nil || !a.has(unix.DM_ACTIVE_PRESENT_FLAG) {
		return Device{}, false, err
	}
	return a.device(), true, nil
}

// lookupPlain finds a loop device of the VM that is its disk, and not part of a
// snapshot.
func lookupPlain(id string) (d Device, found bool, err error) {
	err = eachLoop(func(l *loop) (bool, error) {
		if l.tag() == vmid.Device(id) && !l.has(unix.LO_FLAGS_AUTOCLEAR) {
			d, found = l.device, true
		}
		return found, nil
	})
	return d, found, err
}
