package manifest

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// root is a directory below which no symbolic link is followed, whatever is renamed meanwhile:
// the kernel sees to that (openat2(2)).
type root struct{ *os.File }

// openRoot opens a directory, whose own path may contain symbolic links.
func openRoot(dir string) (root, error) {
	f, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	return root{f}, err
}

// attempts bounds how often something is tried that fails while others work on the files.
const attempts = 5

// open opens a path below the directory; an error is a syscall.Errno. A pipe or device does not
// block it.
func (r root) open(name string, flags uint64) (fd int, err error) {
	how := unix.OpenHow{
		Flags:   flags | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	if flags&(unix.O_PATH|unix.O_DIRECTORY) == 0 {
		how.Flags |= unix.O_NONBLOCK
	}
	for range attempts {
		fd, err = unix.Openat2(int(r.Fd()), name, &how)
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) { // a directory of the path was renamed (openat2(2))
			break
		}
	}
	return fd, err
}

// isGone reports whether err means that a path leads to nothing, or through a link, which this
// package follows in no path.
func isGone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}

// readlink returns the target of a link; name is empty if dir is the link itself.
func readlink(dir int, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, name, buf)
	if err == nil && (n == 0 || n > maxPath) {
		err = unix.ENAMETOOLONG // only a file system in user space has such
	}
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}
