package blockdev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/vmid"
)

// patience is how long a disk may be in use, unless the caller's context ends earlier.
// The VMM that used it has exited or is about to; udev, which examines each new device,
// holds one for milliseconds.
const patience = 10 * time.Second

// Detach removes the VM's device and its loop devices, and returns when they are gone.
// It waits while one is still open. It succeeds if there are none.
func Detach(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := detach(ctx, id); err != nil {
		return failure("detach", id, err)
	}
	return nil
}

func detach(ctx context.Context, id string) error {
	unlock, err := lockVM(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	m, err := openMapper()
	switch {
	case err == nil:
		defer m.close()
		if err := removeMapped(ctx, m, vmid.Device(id)); err != nil {
			return err
		}
	case api.KindOf(err) != api.KindUnsupported: // otherwise no such device can exist
		return err
	}
	return retry(ctx, func() error { return clearLoops(vmid.Device(id)) })
}

// removeMapped removes a device-mapper device when nothing has it open any more. It
// does not suspend it before, as that would block a VMM that still runs.
func removeMapped(ctx context.Context, m *mapper, name string) error {
	return retry(ctx, func() error {
		err := m.remove(name)
		switch {
		case err == nil, errors.Is(err, unix.ENXIO):
			return nil
		case errors.Is(err, unix.EBUSY):
			return m.inUse(name)
		}
		return fmt.Errorf("remove %s: %w", name, err)
	})
}

// errInUse is wrapped by all errors that may disappear after a wait.
var errInUse = errors.New("in use")

// inUse describes what may have the device open.
func (m *mapper) inUse(name string) error {
	a, err := m.status(name)
	if err != nil {
		return fmt.Errorf("%s is %w", name, errInUse)
	}
	d := a.device()
	if h := holders(d.Name); len(h) > 0 {
		return busy(d, name, strings.Join(h, ", "))
	}
	return busy(d, name, nobody)
}

// not the kernel, so a process.
const nobody = "a VMM that has not exited, or udev"

func busy(d Device, name, by string) error {
	return api.Errorf(api.KindConflict, "%s is %w by %s", name, errInUse, by).WithHint("sudo lsof %s", d.Path())
}

// clearLoops unbinds the VM's loop devices, and fails with errInUse while there are
// any: the kernel unbinds an open device when it is closed.
func clearLoops(tag string) error {
	var left error
	err := eachLoop(func(l *loop) (bool, error) {
		if l.tag() != tag {
			return false, nil
		}
		err := ioctl(l.file, unix.LOOP_CLR_FD, nil)
		if err != nil && !errors.Is(err, unix.ENXIO) && !errors.Is(err, unix.EBUSY) {
			return false, os.NewSyscallError("ioctl LOOP_CLR_FD", err)
		}
		if _, err := os.Stat(sysBlock + "/" + l.device.Name + "/loop"); err == nil {
			left = busy(l.device, l.device.Name, nobody)
		}
		return false, nil
	})
	return errors.Join(err, left)
}

// The kernel does not report when a block device is closed, so retry polls: often at
// first.
const (
	firstPause = time.Millisecond
	mostPause  = 100 * time.Millisecond
)

// retry calls try until it returns an error other than errInUse, or ctx ends.
func retry(ctx context.Context, try func() error) error {
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		err := try()
		if !errors.Is(err, errInUse) {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%w: %w", err, context.Cause(ctx))
		}
	}
}
