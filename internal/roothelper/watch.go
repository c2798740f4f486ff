package roothelper

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/host/fsx"
)

// errEnded means that the process ended before the file existed.
var errEnded = errors.New("the process has ended")

// fileWatch waits for a file to appear in a directory, without polling (inotify(7)).
type fileWatch struct {
	path    string
	changes *fsx.Watcher
}

// watchFor begins to watch. A file that is created from now on is noticed.
func watchFor(dir, name string) (*fileWatch, error) {
	changes, err := fsx.NewWatcher()
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	if _, err := changes.Add(dir, unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_ONLYDIR); err != nil {
		changes.Close()
		return nil, os.NewSyscallError("inotify_add_watch", err)
	}
	return &fileWatch{path: filepath.Join(dir, name), changes: changes}, nil
}

func (w *fileWatch) close() { w.changes.Close() }

// wait returns when the file exists, or errEnded if the process of pidfd ended before.
func (w *fileWatch) wait(pidfd *os.File, most time.Duration) error {
	for deadline := time.Now().Add(most); ; {
		var st unix.Stat_t
		if unix.Lstat(w.path, &st) == nil {
			return nil
		}
		left := time.Until(deadline)
		if left <= 0 {
			return api.Errorf(api.KindTimeout, "the VMM did not serve its sockets within %s", most)
		}
		ended, err := w.changes.WaitBeside(pidfd, left)
		if err != nil {
			return err
		}
		if ended {
			return errEnded
		}
	}
}
