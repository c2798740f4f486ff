package blockdev

import (
	"os"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/host/fsx"
)

// identity identifies a file among all open files.
type identity struct{ dev, inode uint64 }

// backing is a file that a loop device is bound to, and the parameters.
type backing struct {
	file  *os.File
	id    identity
	size  int64
	tag   string
	flags uint32 // LO_FLAGS_…
}

func (b backing) readOnly() bool { return b.flags&unix.LO_FLAGS_READ_ONLY != 0 }

// mode returns how to open the loop device. Opening it read-only also avoids that udev
// examines it, which udev does after each close of a writer.
func (b backing) mode() int {
	if b.readOnly() {
		return os.O_RDONLY
	}
	return os.O_RDWR
}

// newBacking checks that the descriptor may be used for a loop device.
func newBacking(what string, f *os.File, tag string, flags uint32) (backing, error) {
	refuse := func(why string, args ...any) (backing, error) {
		return backing{}, api.Errorf(api.KindInvalid, "the "+what+" "+why, args...)
	}
	// This comes first, and before any lock: examining the file may already wait for
	// its program.
	if err := fsx.RefuseFUSE(what, f); err != nil {
		return backing{}, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return refuse("cannot be examined: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return refuse("is not a regular file")
	}
	open, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err != nil {
		return refuse("cannot be examined: %w", err)
	}
	b := backing{file: f, id: identity{st.Dev, st.Ino}, size: st.Size, tag: tag, flags: flags}
	access := open & unix.O_ACCMODE
	switch {
	case open&unix.O_PATH != 0 || access == unix.O_WRONLY:
		return refuse("is not open for reading")
	case !b.readOnly() && access != unix.O_RDWR:
		return refuse("is not open for reading and writing")
	case !b.readOnly() && open&unix.O_APPEND != 0:
		return refuse("is open for appending: the loop device would write everything to its end")
	case st.Size == 0 || st.Size%sectorSize != 0:
		return refuse("has %d bytes, which is not a multiple of %d", st.Size, sectorSize)
	}
	return b, nil
}
