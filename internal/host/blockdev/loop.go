package blockdev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/vmid"
)

const (
	loopControl = "/dev/loop-control"
	loopMajor   = 7 // Documentation/admin-guide/devices.txt
	sectorSize  = 512
)

// baseTag is stored in base loops as the name of the file that losetup(8) prints; the
// loops of a VM store vmid.Device.
const baseTag = "banger-base"

// loop is a loop device that is bound to a file and held open, so that it
// stays bound.
type loop struct {
	file   *os.File
	device Device
	info   unix.LoopInfo64
}

func (l *loop) close() { l.file.Close() }

// tag returns the name that Attach stored in the device.
func (l *loop) tag() string { return text(l.info.File_name[:]) }

func (l *loop) has(flag uint32) bool { return l.info.Flags&flag != 0 }

// ours reports whether a loop device with this tag belongs to banger, and to which VM.
func ours(tag string) (id string, ok bool) {
	if tag == baseTag {
		return "", true
	}
	return vmid.FromDevice(tag)
}

// number returns maj:min, as in tables of the device-mapper.
func (d Device) number() string { return fmt.Sprintf("%d:%d", d.Major, d.Minor) }

// errUnbound means that a loop device is not bound to a file (any more).
var errUnbound = errors.New("the loop device is not bound")

// openLoop opens a bound loop device and reads what it is bound to: in this order, as
// an open device stays bound.
func openLoop(name string, flag int) (*loop, error) {
	l, err := openUnbound(name, flag)
	if err != nil {
		return nil, err
	}
	if err := l.look(); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// openUnbound opens a loop device that may be bound or not.
func openUnbound(name string, flag int) (*loop, error) {
	f, err := os.OpenFile("/dev/"+name, flag|unix.O_NOFOLLOW, 0)
	if absent(err) {
		return nil, fmt.Errorf("%w: %w", errUnbound, err)
	}
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		f.Close()
		return nil, err
	}
	l := &loop{file: f, device: Device{Name: name, Major: unix.Major(st.Rdev), Minor: unix.Minor(st.Rdev)}}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK || l.device.Major != loopMajor {
		f.Close()
		return nil, fmt.Errorf("/dev/%s is not a loop device", name)
	}
	return l, nil
}

// look reads what the device is bound to.
func (l *loop) look() error {
	info, err := unix.IoctlLoopGetStatus64(int(l.file.Fd()))
	if errors.Is(err, unix.ENXIO) {
		return errUnbound
	}
	if err != nil {
		return os.NewSyscallError("ioctl LOOP_GET_STATUS64", err)
	}
	l.info = *info
	return nil
}

// sectors returns the device's size.
func (l *loop) sectors() (int64, error) {
	var size uint64
	if err := ioctl(l.file, unix.BLKGETSIZE64, unsafe.Pointer(&size)); err != nil {
		return 0, os.NewSyscallError("ioctl BLKGETSIZE64", err)
	}
	return int64(size / sectorSize), nil
}

// setAutoclear sets whether the device is unbound with its last user.
func (l *loop) setAutoclear(on bool) error {
	if l.has(unix.LO_FLAGS_AUTOCLEAR) == on {
		return nil
	}
	info := l.info
	info.Flags ^= unix.LO_FLAGS_AUTOCLEAR
	if err := unix.IoctlLoopSetStatus64(int(l.file.Fd()), &info); err != nil {
		return os.NewSyscallError("ioctl LOOP_SET_STATUS64", err)
	}
	l.info = info
	return nil
}

// A free device may be taken by another program before it is bound.
const bindTries = 100

// bind binds a free loop device to the backing file.
func bind(ctx context.Context, b backing) (*loop, error) {
	control, err := openLoopControl()
	if err != nil {
		return nil, err
	}
	defer control.Close()
	var last error
	for range bindTries {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, os.NewSyscallError("ioctl LOOP_CTL_GET_FREE", err)
		}
		l, err := bindTo("loop"+strconv.Itoa(n), b)
		if errors.Is(err, errUnbound) || errors.Is(err, unix.EBUSY) {
			last = err // removed or taken in the meantime
			continue
		}
		return l, err
	}
	return nil, fmt.Errorf("no free loop device after %d tries: %w", bindTries, last)
}

func bindTo(name string, b backing) (*loop, error) {
	l, err := openUnbound(name, b.mode())
	if err != nil {
		return nil, err
	}
	config := unix.LoopConfig{Fd: uint32(b.file.Fd()), Size: sectorSize}
	config.Info.Flags = b.flags
	copy(config.Info.File_name[:len(config.Info.File_name)-1], b.tag)
	err = ioctl(l.file, unix.LOOP_CONFIGURE, unsafe.Pointer(&config))
	if err == nil {
		err = l.look()
	}
	if err != nil {
		l.close()
		return nil, fmt.Errorf("bind %s to %s (LOOP_CONFIGURE, Linux 5.8 or later): %w", name, b.file.Name(), err)
	}
	return l, nil
}

// openLoopControl opens the loop driver, and loads it if necessary.
func openLoopControl() (*os.File, error) {
	f, err := os.OpenFile(loopControl, os.O_RDWR, 0)
	if absent(err) {
		return nil, api.Errorf(api.KindUnsupported, "this host has no loop devices: %w", err).
			WithHint("sudo modprobe loop")
	}
	return f, err
}
