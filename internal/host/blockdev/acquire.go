package blockdev

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"banger/api"
)

const sysBlock = "/sys/block"

// bound returns the loop devices that are bound to a file: they have a directory "loop"
// (Documentation/ABI/testing/sysfs-block-loop).
func bound() ([]string, error) {
	dirs, err := filepath.Glob(sysBlock + "/loop*/loop")
	if err != nil {
		return nil, err
	}
	names := make([]string, len(dirs))
	for i, dir := range dirs {
		names[i] = filepath.Base(filepath.Dir(dir))
	}
	return names, nil
}

// eachLoop passes every bound loop device to visit, open for reading; it closes the
// devices that visit does not keep.
func eachLoop(visit func(*loop) (keep bool, err error)) error {
	names, err := bound()
	if err != nil {
		return err
	}
	for _, name := range names {
		l, err := openLoop(name, os.O_RDONLY)
		if errors.Is(err, errUnbound) || foreign(err) {
			continue // just unbound, or not one of banger's
		}
		if err != nil {
			return err
		}
		keep, err := visit(l)
		if !keep {
			l.close()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// foreign reports whether a device cannot be examined because it is over a file in a
// user's FUSE file system, as udisks binds one for the user at the machine; banger's
// devices never are (newBacking). Root may not use such a file system (EACCES), and one
// whose program has ended is not connected (ENOTCONN).
func foreign(err error) bool {
	var call *os.SyscallError // LOOP_GET_STATUS64: a device that cannot be opened is a different error
	return errors.As(err, &call) && (errors.Is(call.Err, unix.EACCES) || errors.Is(call.Err, unix.ENOTCONN))
}

// acquire returns a loop device over the file, held open: the existing one, or a new
// one.
func acquire(ctx context.Context, b backing) (*loop, error) {
	unlock, err := lockLoops(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	var found *loop
	err = eachLoop(func(l *loop) (bool, error) {
		use, err := b.canUse(l)
		if !use || found != nil {
			return false, err
		}
		found = l
		return true, nil
	})
	if err == nil && found != nil {
		err = found.setAutoclear(b.flags&unix.LO_FLAGS_AUTOCLEAR != 0)
	}
	if err != nil && found != nil {
		found.close()
	}
	if err != nil || found != nil {
		return found, err
	}
	return bind(ctx, b)
}

// canUse reports whether the loop device can be used. It returns an error if the device
// prevents a new one: two devices over one file must not exist, except for reading.
func (b backing) canUse(l *loop) (bool, error) {
	same := b.id == identity{l.info.Device, l.info.Inode}
	tagged := l.tag() == b.tag
	readers := b.readOnly() && l.has(unix.LO_FLAGS_READ_ONLY)
	switch {
	case !same && (!tagged || b.readOnly()):
		return false, nil // it belongs to other files
	case !same:
		return false, conflict(l.device, "belongs to the VM already, over another file")
	case readers && !tagged:
		return false, nil // another program reads the file, too
	case !tagged || b.readOnly() != l.has(unix.LO_FLAGS_READ_ONLY):
		return false, conflict(l.device, "is over this file already, and named "+l.tag())
	}
	size, err := l.sectors()
	if err == nil && (size != b.size/sectorSize || l.info.Offset != 0) {
		err = conflict(l.device, "is over another part of this file")
	}
	return err == nil, err
}

func conflict(d Device, why string) error {
	return api.Errorf(api.KindConflict, "%s %s", d.Path(), why).WithHint("sudo losetup --list %s", d.Path())
}

// holders returns the names of devices on top of the device, such as device-mapper
// devices.
func holders(name string) []string {
	entries, err := os.ReadDir(filepath.Join(sysBlock, name, "holders"))
	if err != nil {
		return nil // gone
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// backingFile returns the path of the file at the time the device was bound to it.
func backingFile(name string) string {
	data, err := os.ReadFile(filepath.Join(sysBlock, name, "loop/backing_file"))
	if err != nil {
		return "" // gone
	}
	return strings.TrimSuffix(string(data), "\n")
}

// loopName finds the loop device of a number in a table.
func loopName(number string) (string, error) {
	path, err := os.Readlink("/sys/dev/block/" + number)
	if err != nil {
		return "", err
	}
	return filepath.Base(path), nil
}
