package update

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/fsx"
	"banger/internal/update/journal"
)

// Launcher starts the updater, which belongs to nobody who follows it.
type Launcher interface {
	Launch(ctx context.Context) error
	// Watch returns what is closed when the updater that runs has ended; nil while
	// it is about to be started again.
	Watch(ctx context.Context) (<-chan struct{}, error)
}

// launchTimeout bounds the start of an updater, which says nothing before it runs.
const launchTimeout = time.Minute

var errGone = errors.New("the updater has ended")

// OpenLog opens the updater's log to append to.
func (m Machine) OpenLog() (*os.File, error) {
	log, err := os.OpenFile(m.Log(), os.O_WRONLY|os.O_CREATE|os.O_APPEND|unix.O_NOFOLLOW, 0o600)
	return log, fsx.DiskError("open the update's log", err)
}

// follower reads a log that grows and waits for the account.
type follower struct {
	m      Machine
	log    *os.File
	line   string
	events chan struct{}
}

// Follow starts the updater of the journal that is there, hands on what it says,
// and returns the account. When ctx ends it returns, and the updater goes on.
func (m Machine) Follow(ctx context.Context, l Launcher) (journal.Journal, error) {
	j, err := journal.Read(m.Journal())
	if err != nil {
		return j, err
	}
	if err := os.Remove(m.Log()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return j, api.AsError(err)
	}
	changes, err := watchDir(m.State)
	if err != nil {
		return j, err
	}
	defer changes.Close()
	// Ctrl-C does not leave an update that was begun and that nobody carries out.
	launching, cancel := context.WithTimeout(context.WithoutCancel(ctx), launchTimeout)
	defer cancel()
	if err := l.Launch(launching); err != nil {
		return j, err
	}
	log, err := os.Open(m.Log())
	if err != nil {
		return j, api.AsError(err)
	}
	defer log.Close()
	f := &follower{m: m, log: log, events: make(chan struct{}, 1)}
	go f.listen(changes)
	return f.follow(ctx, l, j.ID)
}

func (f *follower) follow(ctx context.Context, l Launcher, id string) (journal.Journal, error) {
	var ended <-chan struct{}
	for {
		last, err := journal.Read(f.m.Last())
		f.read() // what was said before the account was left
		if err == nil && last.ID == id {
			f.m.waitForExit(ctx, l, ended)
			return last, nil
		}
		if ended == nil {
			if ended, err = l.Watch(ctx); err != nil && ctx.Err() == nil {
				return f.lastOutcome(id, err)
			}
		}
		select {
		case <-f.events:
		case <-ended:
			ended = nil
		case <-ctx.Done():
			return last, api.Errorf(api.KindCanceled, "the update goes on without us").
				WithHint("tail -f %s", f.m.Log())
		}
	}
}

// waitForExit waits until the updater has put its journal away and ended, a moment after
// its account: the next command is to find nothing of it.
func (m Machine) waitForExit(ctx context.Context, l Launcher, ended <-chan struct{}) {
	if ended == nil {
		ended, _ = l.Watch(ctx) // an error: it has ended
	}
	if ended == nil {
		return
	}
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

// lastOutcome looks once more for an account: the updater leaves one just before it ends.
func (f *follower) lastOutcome(id string, err error) (journal.Journal, error) {
	last, readErr := journal.Read(f.m.Last())
	f.read()
	if readErr == nil && last.ID == id {
		return last, nil
	}
	return last, api.Errorf(api.KindInternal, "the update was interrupted: %w", err).
		WithHint("%s   goes on with it, or takes it back; the next start of the machine does so too\nless %s", f.m.command(), f.m.Log())
}

// read hands on whole lines.
func (f *follower) read() {
	data, _ := io.ReadAll(f.log) // what cannot be read is in the log all the same
	text := f.line + string(data)
	for {
		line, rest, whole := strings.Cut(text, "\n")
		if !whole {
			f.line = text
			return
		}
		text = rest
		if line = strings.TrimPrefix(line, logPrefix); line != "" {
			f.m.Report(line)
		}
	}
}

// logPrefix begins each line that an updater says.
const logPrefix = "banger: "

// listen turns changes in the directory into events.
func (f *follower) listen(changes *os.File) {
	buf := make([]byte, 4096)
	for {
		if _, err := changes.Read(buf); err != nil {
			return
		}
		select {
		case f.events <- struct{}{}:
		default: // one is waiting already
		}
	}
}

func watchDir(dir string) (*os.File, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, err
	}
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_MODIFY|unix.IN_MOVED_TO|unix.IN_CREATE|unix.IN_DELETE); err != nil {
		unix.Close(fd)
		return nil, &os.PathError{Op: "watch", Path: dir, Err: err}
	}
	return os.NewFile(uintptr(fd), "inotify"), nil
}
