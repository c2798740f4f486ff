package fcproc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// pidfile is the jailer's name for it: the name of the program and ".pid", in the root directory of the
// chroot (Firecracker's docs/jailer.md).
const pidfile = Firecracker + ".pid"

const (
	maxPID     = 1 << 22 // PID_MAX_LIMIT, proc_sys_kernel(5)
	maxPidfile = 32      // bytes: a pid of seven digits, and white space
)

// openChroot opens the directory that the symlink socket leads into. Neither
// that directory's path nor the socket in it may be a symlink again.
func openChroot(socket string) (*os.File, error) {
	target, err := os.Readlink(socket)
	if errors.Is(err, unix.EINVAL) {
		return nil, hintError("%s is not a symlink into a chroot", socket)
	}
	if err != nil {
		return nil, hintError("%w", err)
	}
	if !filepath.IsAbs(target) {
		target = filepath.Join(filepath.Dir(socket), target)
	}
	root, err := openPlain(unix.AT_FDCWD, filepath.Dir(target), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, hintError("cannot follow %s: %w", socket, err)
	}
	var st unix.Stat_t
	err = unix.Fstatat(int(root.Fd()), filepath.Base(target), &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK {
		root.Close()
		return nil, hintError("%s leads to another symlink, %s", socket, target)
	}
	return root, nil // the socket itself may be gone already
}

// openPlain opens a path of which no component is a symlink (openat2(2)).
func openPlain(dir int, path string, flags int) (*os.File, error) {
	fd, err := unix.Openat2(dir, path, &unix.OpenHow{
		Flags: uint64(flags) | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// readPidfile reads the pidfile in a chroot. The VM's uid may have put anything
// there: a FIFO, the node of its disk, a file under a lease. So its type is checked
// before it is opened, and opening does not wait (fcntl(2), leases).
func readPidfile(root *os.File) (int, error) {
	there, err := openPlain(int(root.Fd()), pidfile, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return 0, hintError("%w", err)
	}
	defer there.Close()
	if info, err := there.Stat(); err != nil || !info.Mode().IsRegular() {
		return 0, hintError("%s is not a regular file", pidfile)
	}
	f, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", there.Fd()), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, hintError("cannot read %s: %w", pidfile, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxPidfile+1))
	if err != nil {
		return 0, hintError("cannot read %s: %w", pidfile, err)
	}
	pid, err := parsePID(data)
	if err != nil {
		return 0, hintError("bad %s: %w", pidfile, err)
	}
	return pid, nil
}

// parsePID reads a pid in decimal digits, with white space around it or none.
func parsePID(data []byte) (int, error) {
	if len(data) > maxPidfile {
		return 0, errors.New("it is too long")
	}
	digits := bytes.Trim(data, " \t\r\n")
	for _, b := range digits {
		if b < '0' || b > '9' {
			return 0, fmt.Errorf("%q is not a pid", digits)
		}
	}
	pid, err := strconv.Atoi(string(digits))
	if err != nil || pid < 1 || pid > maxPID {
		return 0, fmt.Errorf("%q is not a pid", digits)
	}
	return pid, nil
}
