package publish

import (
	"os"

	"golang.org/x/sys/unix"
)

// whenRemoved calls gone when dir is: the VM was deleted, or all of banger with its
// data, and there was no daemon to end its forwarder.
func whenRemoved(dir string, gone func()) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return err
	}
	// The runtime's poller waits for it.
	watch := os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_DELETE_SELF); err != nil {
		watch.Close()
		return &os.PathError{Op: "watch", Path: dir, Err: err}
	}
	go func() {
		_, _ = watch.Read(make([]byte, unix.SizeofInotifyEvent)) // there is but one event
		gone()
	}()
	return nil
}
