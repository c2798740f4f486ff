package fsx

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Watcher reports changes of files and directories (inotify(7)). It misses none if its user first
// adds what to watch, then looks, and only then waits. An event says that something may have
// changed, and looking again says what: events are merged, and their queue may overflow.
//
// It is in the runtime's poller, so that a wait holds no thread. Errors are those of the system
// calls.
type Watcher struct {
	file *os.File
}

// Event is a change of something that is watched.
type Event struct {
	WD   int    // the watch, as Add returned it; -1: events were lost
	Mask uint32 // unix.IN_…
	Name string // of the entry of a directory; empty: what is watched
}

// NewWatcher returns a watcher that watches nothing yet.
func NewWatcher() (*Watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, err
	}
	return &Watcher{os.NewFile(uintptr(fd), "inotify")}, nil
}

// Add watches path for the events in mask, unix.IN_…, and returns the watch's number. To add a
// file again changes its watch.
func (w *Watcher) Add(path string, mask uint32) (wd int, err error) {
	wd = -1
	err = w.control(func(fd int) (err error) {
		wd, err = unix.InotifyAddWatch(fd, path, mask)
		return err
	})
	return wd, err
}

// Remove removes a watch. It does not matter if the watch has ended already.
func (w *Watcher) Remove(wd int) {
	_ = w.control(func(fd int) error {
		_, err := unix.InotifyRmWatch(fd, uint32(wd))
		return err
	})
}

// Wait returns when something has changed since the last Wait, or an error if the watcher is
// closed. If ctx ends, Wait returns its cause, and the watcher cannot be used any more.
func (w *Watcher) Wait(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = w.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	_, err := w.Read(make([]byte, eventsSize)) // what changed does not matter
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return context.Cause(ctx)
	}
	return err
}

// eventsSize is room for many events, in bytes.
const eventsSize = 4 << 10

// Events waits as Wait does, and returns what has changed.
func (w *Watcher) Events() ([]Event, error) {
	buf := make([]byte, eventsSize)
	n, err := w.Read(buf)
	if err != nil {
		return nil, err
	}
	return parseEvents(buf[:n]), nil
}

// EventsUntil is Events with a time at which it returns os.ErrDeadlineExceeded.
func (w *Watcher) EventsUntil(end time.Time) ([]Event, error) {
	if err := w.file.SetReadDeadline(end); err != nil {
		return nil, err
	}
	return w.Events()
}

// WaitBeside waits until something has changed, a file that can be polled is readable, or time is
// up. It reports whether the file is readable and nothing has changed. It holds a thread.
func (w *Watcher) WaitBeside(file *os.File, most time.Duration) (readable bool, err error) {
	err = w.control(func(fd int) error {
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(file.Fd()), Events: unix.POLLIN}}
		_, err := unix.Poll(ready, int(most.Milliseconds())+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("poll", err)
		}
		if readable = ready[1].Revents != 0 && ready[0].Revents == 0; !readable {
			_, _ = unix.Read(fd, make([]byte, eventsSize)) // what changed does not matter
		}
		return nil
	})
	return readable, err
}

// Read reads events as the kernel encodes them.
func (w *Watcher) Read(buf []byte) (int, error) { return w.file.Read(buf) }

// Close ends all watches, and a Wait.
func (w *Watcher) Close() error { return w.file.Close() }

func (w *Watcher) control(do func(fd int) error) error {
	conn, err := w.file.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := conn.Control(func(fd uintptr) { inner = do(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// parseEvents decodes a buffer of struct inotify_event (inotify(7)): watch, mask,
// cookie, length of the name, name; in the host's byte order.
func parseEvents(data []byte) []Event {
	const header = unix.SizeofInotifyEvent
	var events []Event
	for len(data) >= header {
		order := binary.NativeEndian
		e := Event{WD: int(int32(order.Uint32(data))), Mask: order.Uint32(data[4:])}
		length := int64(order.Uint32(data[12:]))
		if length <= int64(len(data)-header) {
			name, _, _ := bytes.Cut(data[header:header+length], []byte{0}) // NULs follow it
			e.Name = string(name)
		}
		events = append(events, e)
		if length > int64(len(data)-header) {
			break
		}
		data = data[header+length:]
	}
	return events
}
