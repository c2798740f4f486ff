package console

import (
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// inotify is an inotify descriptor in the runtime's poller: reading it does not block a
// thread.
type inotify struct {
	file *os.File
}

func newInotify() (inotify, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return inotify{}, fmt.Errorf("cannot watch files: %w", os.NewSyscallError("inotify_init1", err))
	}
	return inotify{os.NewFile(uintptr(fd), "inotify")}, nil
}

// add watches path and returns the watch's number. Watching a file again changes its
// watch.
func (n inotify) add(path string, mask uint32) (int, error) {
	wd := -1
	err := n.control(func(fd int) (err error) {
		wd, err = unix.InotifyAddWatch(fd, path, mask)
		return err
	})
	if err != nil {
		return -1, fmt.Errorf("cannot watch %s: %w", path, err)
	}
	return wd, nil
}

// remove removes a watch. It is not an error if the watch has ended already.
func (n inotify) remove(wd int) {
	_ = n.control(func(fd int) error {
		_, err := unix.InotifyRmWatch(fd, uint32(wd))
		return err
	})
}

func (n inotify) control(do func(fd int) error) error {
	conn, err := n.file.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := conn.Control(func(fd uintptr) { inner = do(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// event is a change of a watched file.
type event struct {
	wd   int
	mask uint32
}

// parseEvents decodes a buffer of struct inotify_event (inotify(7)): watch, mask,
// cookie, length of the name, name; in the host's byte order.
func parseEvents(data []byte) []event {
	const header = unix.SizeofInotifyEvent
	var events []event
	for len(data) >= header {
		order := binary.NativeEndian
		events = append(events, event{wd: int(int32(order.Uint32(data))), mask: order.Uint32(data[4:])})
		name := int64(order.Uint32(data[12:]))
		if name > int64(len(data)-header) {
			break
		}
		data = data[header+name:]
	}
	return events
}
