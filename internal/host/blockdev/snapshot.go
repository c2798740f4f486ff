package blockdev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/vmid"
)

const snapshotTarget = "snapshot"

// snapshot describes a device-mapper device to be made.
type snapshot struct {
	name      string
	base, cow backing
}

func newSnapshot(id string, base, cow *os.File) (snapshot, error) {
	s := snapshot{name: vmid.Device(id)}
	var err error
	if s.base, err = newBacking("base", base, baseTag, unix.LO_FLAGS_READ_ONLY|unix.LO_FLAGS_AUTOCLEAR); err != nil {
		return s, err
	}
	s.cow, err = newCow(cow, s.name)
	return s, err
}

func (s snapshot) sectors() uint64 { return uint64(s.base.size / sectorSize) }

// AttachSnapshot makes the VM's device over a base, which it only reads, and a
// copy-on-write file, which it writes. The file contains the VM's earlier writes, or is
// new: sparse, of CowBytes, never written. It returns an existing device over the same
// two files; one over other files is an error of kind api.KindConflict.
func AttachSnapshot(ctx context.Context, id string, base, cow *os.File) (Device, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	d, err := attachSnapshot(ctx, id, base, cow)
	if err != nil {
		return Device{}, failure("attach", id, err)
	}
	return d, nil
}

func attachSnapshot(ctx context.Context, id string, base, cow *os.File) (Device, error) {
	s, err := newSnapshot(id, base, cow)
	if err != nil {
		return Device{}, err
	}
	unlock, err := lockVM(ctx, id)
	if err != nil {
		return Device{}, err
	}
	defer unlock()
	m, err := openMapper()
	if err != nil {
		return Device{}, err
	}
	defer m.close()
	a, err := m.status(s.name)
	switch {
	case errors.Is(err, unix.ENXIO):
		return s.make(ctx, m)
	case err != nil:
		return Device{}, err
	case !a.has(unix.DM_ACTIVE_PRESENT_FLAG): // the process that made it died
		if err := removeMapped(ctx, m, s.name); err != nil {
			return Device{}, err
		}
		return s.make(ctx, m)
	}
	return s.adopt(m, a)
}

// adopt returns the existing device, if it is the wanted one.
func (s snapshot) adopt(m *mapper, a answer) (Device, error) {
	if err := s.isOver(m); err != nil {
		return Device{}, err
	}
	if a.has(unix.DM_SUSPEND_FLAG) {
		if err := m.resume(s.name); err != nil {
			return Device{}, err
		}
	}
	return a.device(), nil
}

// isOver reports whether the existing device is over the wanted files.
func (s snapshot) isOver(m *mapper) error {
	line, err := m.line(s.name, unix.DM_STATUS_TABLE_FLAG)
	if err != nil {
		return err
	}
	t, err := parseTable(line)
	if err != nil {
		return err
	}
	for _, part := range []struct {
		number string
		want   backing
	}{{t.base, s.base}, {t.cow, s.cow}} {
		is, err := part.want.isBehind(part.number)
		if err != nil {
			return err
		}
		if !is || line.length != s.sectors() {
			return api.Errorf(api.KindConflict, "%s exists already, over other files", s.name).
				WithHint("sudo dmsetup deps -o blkdevname %s; sudo losetup --list", s.name)
		}
	}
	return nil
}

// isBehind reports whether the device of that number is bound to the file.
func (b backing) isBehind(number string) (bool, error) {
	name, err := loopName(number)
	if err != nil {
		return false, err
	}
	l, err := openLoop(name, os.O_RDONLY)
	if err != nil {
		return false, err
	}
	defer l.close()
	return b.id == identity{l.info.Device, l.info.Inode}, nil
}

// make makes the device. This process holds the loop devices until the table holds
// them.
func (s snapshot) make(ctx context.Context, m *mapper) (Device, error) {
	if err := revive(s.cow.file); err != nil {
		return Device{}, err
	}
	base, err := acquire(ctx, s.base)
	if err != nil {
		return Device{}, err
	}
	defer base.close()
	cow, err := acquire(ctx, s.cow)
	if err != nil {
		return Device{}, err
	}
	defer cow.close()
	a, err := m.create(s.name)
	if err != nil {
		return Device{}, fmt.Errorf("create %s: %w", s.name, err)
	}
	if err := s.start(m, base, cow); err != nil {
		// An own context: a cancelled one must not leave the unfinished device.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		return Device{}, errors.Join(err, removeMapped(ctx, m, s.name))
	}
	return a.device(), nil
}

// start gives the device its table and activates it.
func (s snapshot) start(m *mapper, base, cow *loop) error {
	if err := m.load(s.name, s.target(base, cow)); err != nil {
		return loadFailure(s.name, err)
	}
	if err := s.checkLoaded(m); err != nil {
		return err
	}
	if err := m.resume(s.name); err != nil {
		return fmt.Errorf("resume %s: %w", s.name, err)
	}
	return nil
}

// checkLoaded checks the loaded table. The owner can change the copy-on-write file
// after readHeader and before the kernel reads it: the memory that the kernel then
// allocated is freed when the device is removed at once.
func (s snapshot) checkLoaded(m *mapper) error {
	line, err := m.line(s.name, unix.DM_STATUS_TABLE_FLAG|unix.DM_QUERY_INACTIVE_TABLE_FLAG)
	if err != nil {
		return fmt.Errorf("read the table of %s: %w", s.name, err)
	}
	t, err := parseTable(line)
	if err != nil {
		return err
	}
	return t.checkChunk()
}

func (s snapshot) target(base, cow *loop) target {
	t := table{base: base.device.number(), cow: cow.device.number()}
	return target{length: s.sectors(), kind: snapshotTarget, params: t.params()}
}

func loadFailure(name string, err error) error {
	switch {
	case errors.Is(err, unix.EINVAL): // also "unknown target type"
		return api.Errorf(api.KindUnsupported, "cannot load the table of %s: %w", name, err).
			WithHint("sudo modprobe dm_snapshot; sudo dmesg | tail")
	case errors.Is(err, unix.ENXIO):
		return api.Errorf(api.KindInvalid, "cannot load the table of %s: the copy-on-write file has an unexpected content: %w", name, err).
			WithHint("sudo dmesg | tail")
	case errors.Is(err, unix.EIO):
		return api.Errorf(api.KindInternal, "cannot load the table of %s: the copy-on-write file cannot be read or written, as on a full disk: %w", name, err).
			WithHint("df -h; sudo dmesg | tail")
	}
	return fmt.Errorf("load the table of %s: %w", name, err)
}

// failure wraps the errors of this package's functions.
func failure(verb, id string, err error) error {
	kind := api.KindOf(err)
	switch {
	case errors.Is(err, context.Canceled):
		kind = api.KindCanceled
	case errors.Is(err, context.DeadlineExceeded):
		kind = api.KindTimeout
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		kind = api.KindNoSpace
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		kind = api.KindDenied
	}
	return api.Errorf(kind, "cannot %s the disk of VM %s: %w", verb, id, err)
}
