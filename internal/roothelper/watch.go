package roothelper

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
)

// errEnded means that the process ended before the file existed.
var errEnded = errors.New("the process has ended")

// fileWatch waits for a file to appear in a directory, without polling (inotify(7)).
type fileWatch struct {
	path string
	fd   int
}

// watchFor begins to watch. A file that is created from now on is noticed.
func watchFor(dir, name string) (*fileWatch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_ONLYDIR); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("inotify_add_watch", err)
	}
	return &fileWatch{path: filepath.Join(dir, name), fd: fd}, nil
}

func (w *fileWatch) close() { unix.Close(w.fd) }

// wait returns when the file exists, or errEnded if the process of pidfd ended before.
func (w *fileWatch) wait(pidfd *os.File, most time.Duration) error {
	deadline := time.Now().Add(most)
	events := make([]byte, 4<<10)
	for {
		var st unix.Stat_t
		if unix.Lstat(w.path, &st) == nil {
			return nil
		}
		left := time.Until(deadline)
		if left <= 0 {
			return api.Errorf(api.KindTimeout, "the VMM did not serve its sockets within %s", most)
		}
		ready := []unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}, {Fd: int32(pidfd.Fd()), Events: unix.POLLIN}}
		_, err := unix.Poll(ready, int(left.Milliseconds())+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("poll", err)
		}
		if ready[1].Revents != 0 && ready[0].Revents == 0 {
			return errEnded
		}
		// The events' content does not matter; the next check does.
		_, _ = unix.Read(w.fd, events)
	}
}
