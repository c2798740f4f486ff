package blockdev

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"banger/api"
)

const mapperControl = "/dev/mapper/control"

// mapper is a connection to the device-mapper.
type mapper struct{ file *os.File }

// openMapper opens the device-mapper. The node exists before its module is loaded:
// opening it loads the module (MODULE_ALIAS "devname:mapper/control").
func openMapper() (*mapper, error) {
	f, err := os.OpenFile(mapperControl, os.O_RDWR, 0)
	switch {
	case err == nil:
		return &mapper{f}, nil
	case absent(err):
		return nil, api.Errorf(api.KindUnsupported, "this host has no device-mapper: %w", err).
			WithHint("sudo modprobe dm_mod")
	}
	return nil, err
}

// absent reports whether the error of opening a device means that it does not exist.
func absent(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO)
}

func (m *mapper) close() { m.file.Close() }

const (
	firstRoom = 16 << 10 // enough for some hundred names
	mostRoom  = 16 << 20
)

// call makes one request, and repeats it with a larger buffer if the answer needs one.
func (m *mapper) call(command uint, r request) (answer, error) {
	for r.room = max(r.room, firstRoom); r.room <= mostRoom; r.room *= 4 {
		b, err := r.encode()
		if err != nil {
			return answer{}, err
		}
		if err := ioctl(m.file, command, unsafe.Pointer(&b[0])); err != nil {
			return answer{}, err
		}
		a, err := decode(b)
		if err != nil || !a.has(unix.DM_BUFFER_FULL_FLAG) {
			return a, err
		}
	}
	return answer{}, fmt.Errorf("the device-mapper's answer has more than %d bytes", mostRoom)
}

// ioctl calls ioctl(2), again after a signal.
func ioctl(f *os.File, command uint, arg unsafe.Pointer) error {
	defer runtime.KeepAlive(f)
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), uintptr(command), uintptr(arg))
		if errno == 0 {
			return nil
		}
		if errno != unix.EINTR {
			return errno
		}
	}
}

// udevLeavesAlone tells udev's rules for device-mapper devices not to examine the
// content of a VM's disk, which the guest writes, and not to make links from names
// found there. The flags are the DM_UDEV_… flags of libdevmapper.h (disable subsystem
// rules, disk rules, other rules; primary source), in the upper half of the value that
// the kernel passes to udev as DM_COOKIE.
const udevLeavesAlone = (0x02 | 0x04 | 0x08 | 0x40) << 16

// create makes a device without a table.
func (m *mapper) create(name string) (answer, error) {
	return m.call(unix.DM_DEV_CREATE, request{name: name})
}

// load gives the device a table, which becomes active by resume.
func (m *mapper) load(name string, t target) error {
	_, err := m.call(unix.DM_TABLE_LOAD, request{name: name, targets: 1, data: t.encode()})
	return err
}

// resume activates the loaded table, if any.
func (m *mapper) resume(name string) error {
	_, err := m.call(unix.DM_DEV_SUSPEND, request{name: name, event: udevLeavesAlone})
	return err
}

// remove removes the device, or fails with EBUSY while it is open. (Deferred
// removal would report success early, and the loop devices would stay.)
func (m *mapper) remove(name string) error {
	_, err := m.call(unix.DM_DEV_REMOVE, request{name: name, event: udevLeavesAlone})
	return err
}

// status fails with ENXIO if no device has that name.
func (m *mapper) status(name string) (answer, error) {
	return m.call(unix.DM_DEV_STATUS, request{name: name})
}

// line returns the only line of a device's table (DM_STATUS_TABLE_FLAG) or of its
// status (0).
func (m *mapper) line(name string, flags uint32) (target, error) {
	// Flushing would wait for a disk that hangs (snapshot_status has no use for it).
	a, err := m.call(unix.DM_TABLE_STATUS, request{name: name, flags: flags | unix.DM_NOFLUSH_FLAG})
	if err != nil {
		return target{}, err
	}
	if a.targets != 1 {
		return target{}, fmt.Errorf("the table has %d lines", a.targets)
	}
	return decodeTarget(a.data)
}

// names lists all devices.
func (m *mapper) names() ([]string, error) {
	a, err := m.call(unix.DM_LIST_DEVICES, request{})
	if err != nil {
		return nil, err
	}
	return decodeNames(a.data)
}
