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
	"banger/internal/host/fsx"
	"banger/internal/update/journal"
)

// Launcher starts the updater, which does not depend on the process that follows it.
type Launcher interface {
	Launch(ctx context.Context) error
	// Watch returns a channel that is closed when the running updater has ended; nil if
	// it is about to be started again.
	Watch(ctx context.Context) (<-chan struct{}, error)
}

// launchTimeout bounds the start of an updater, which reports nothing before it runs.
const launchTimeout = time.Minute

var errGone = errors.New("the updater has ended")

// OpenLog opens the updater's log for appending.
func (m Machine) OpenLog() (*os.File, error) {
	log, err := os.OpenFile(m.Log(), os.O_WRONLY|os.O_CREATE|os.O_APPEND|unix.O_NOFOLLOW, 0o600)
	return log, fsx.DiskError("open the update's log", err)
}

// follower reads a growing log and waits for the outcome.
type follower struct {
	m      Machine
	log    *os.File
	line   string
	events chan struct{}
}

// Follow starts the updater for the journal on disk, passes on what it reports, and
// returns the outcome. If ctx ends, Follow returns and the updater continues.
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
	// Ctrl-C must not leave an update that is started in the journal and that no
	// updater carries out.
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
		f.read() // what was reported before the outcome was written
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
			return last, api.Errorf(api.KindCanceled, "stopped waiting; the update continues").
				WithHint("tail -f %s", f.m.Log())
		}
	}
}

// waitForExit waits until the updater has removed its journal and ended, a moment after
// it wrote the outcome: the next command must not find a running update.
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

// lastOutcome checks once more for an outcome: the updater writes it just before it
// ends.
func (f *follower) lastOutcome(id string, err error) (journal.Journal, error) {
	last, readErr := journal.Read(f.m.Last())
	f.read()
	if readErr == nil && last.ID == id {
		return last, nil
	}
	return last, api.Errorf(api.KindInternal, "the update was interrupted: %w", err).
		WithHint("%s   continues it, or rolls it back; so does the next boot\nless %s", f.m.command(), f.m.Log())
}

// read passes on complete lines.
func (f *follower) read() {
	data, _ := io.ReadAll(f.log) // what cannot be read stays in the log
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

// logPrefix starts each line of the updater's log.
const logPrefix = "banger: "

// listen turns changes in the directory into events.
func (f *follower) listen(changes *fsx.Watcher) {
	for {
		if err := changes.Wait(context.Background()); err != nil {
			return
		}
		select {
		case f.events <- struct{}{}:
		default: // an event is pending already
		}
	}
}

func watchDir(dir string) (*fsx.Watcher, error) {
	changes, err := fsx.NewWatcher()
	if err != nil {
		return nil, err
	}
	if _, err := changes.Add(dir, unix.IN_MODIFY|unix.IN_MOVED_TO|unix.IN_CREATE|unix.IN_DELETE); err != nil {
		changes.Close()
		return nil, &os.PathError{Op: "watch", Path: dir, Err: err}
	}
	return changes, nil
}
