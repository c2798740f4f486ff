// Package treewatch reports which directories of a tree change, on the host and in a guest
// (inotify(7)).
package treewatch

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/host/fsx"
)

// Options say what is watched. The zero value watches everything.
type Options struct {
	// Skip are directories that are not watched, with all that is in them: names such as .git,
	// wherever they are, and paths, which have a slash, such as /build or web/dist.
	Skip []string
}

// Event says what may have changed.
type Event struct {
	// Ready means that all directories are watched from now on: what changed before is for a
	// scan. It is set once, in the first event.
	Ready bool
	// Dirs are the directories in which something changed: relative, with slashes, sorted; "." is
	// the top. A directory that is new, or was renamed, is among them with all in it, and so may
	// be one that is gone.
	Dirs []string
	// All means that anything may have changed.
	All bool
	// Reason is why not all directories are watched: changes in the others are in no event. All
	// is then set in each. It is empty in the first event after which all of them are.
	Reason string
}

// MaxDirs is how many directories an event has at most: if more of them changed, it is All.
const MaxDirs = 4096

// Events are gathered until none has come for quiet, and no longer than longest after the first.
// A build writes hundreds of files in 100 ms, which are then one event.
const (
	quiet   = 10 * time.Millisecond
	longest = 200 * time.Millisecond
)

// mask is what counts as a change. What is written to an open file counts at once: a log is never
// closed.
const mask = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MODIFY | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB |
	unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF |
	unix.IN_ONLYDIR | unix.IN_EXCL_UNLINK

// errOverflow means that the kernel has dropped events.
var errOverflow = errors.New("events were lost")

var errGone = api.Errorf(api.KindNotFound, "the directory was renamed or removed while it was watched")

// Watch watches the directory dir, at any depth, and calls each with what changed, until ctx ends
// or each returns an error. Symbolic links are not followed below dir. Files with names of banger's
// own, which begin with .banger-, do not count. If dir itself is renamed or removed, Watch ends
// with an error of kind not_found.
func Watch(ctx context.Context, dir string, o Options, each func(Event) error) error {
	w := &watching{dir: dir, skip: NewSkips(o.Skip), each: each}
	top, err := w.openTop()
	if err != nil {
		return err
	}
	top.Close()
	for first := true; ; first = false {
		if err := w.watch(ctx, first); !errors.Is(err, errOverflow) {
			return err
		}
	}
}

// watching is one use of Watch.
type watching struct {
	dir  string
	is   os.FileInfo // of the directory
	skip Skips
	each func(Event) error

	inotify   *fsx.Watcher
	paths     map[int]string // by watch
	changed   map[string]bool
	unwatched []string
	reason    string // of the last that could not be watched
}

// watch watches until events are lost.
func (w *watching) watch(ctx context.Context, first bool) error {
	w.paths, w.changed, w.unwatched, w.reason = map[int]string{}, map[string]bool{}, nil, ""
	inotify, err := fsx.NewWatcher()
	if err != nil { // nothing can be watched: the user of this package looks now and then
		w.reason = reasonOf(err)
		if err := w.each(Event{Ready: first, All: true, Reason: w.reason}); err != nil {
			return err
		}
		<-ctx.Done()
		return context.Cause(ctx)
	}
	defer inotify.Close()
	defer context.AfterFunc(ctx, func() { inotify.Close() })()
	w.inotify = inotify
	if err := w.walk(ctx, "."); err != nil {
		return err
	}
	w.changed = map[string]bool{} // it was as large as the tree
	if err := w.each(Event{Ready: first, All: !first || w.reason != "", Reason: w.reason}); err != nil {
		return err
	}
	for {
		if err := w.gather(ctx); err != nil {
			return err
		}
		if err := w.report(ctx); err != nil {
			return err
		}
	}
}

// gather waits for an event, and collects those that follow.
func (w *watching) gather(ctx context.Context) error {
	var end, last time.Time // zero: as long as it takes
	for {
		events, err := w.inotify.EventsUntil(end)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			return err
		}
		for _, e := range events {
			if err := w.handle(ctx, e); err != nil {
				return err
			}
		}
		if len(w.changed) == 0 { // none of them counts
			continue
		}
		now := time.Now()
		if last.IsZero() {
			last = now.Add(longest)
		}
		if end = now.Add(quiet); end.After(last) {
			end = last
		}
	}
}

// report reports what has changed.
func (w *watching) report(ctx context.Context) error {
	e := Event{All: len(w.changed) > MaxDirs || w.reason != ""}
	if w.reason != "" {
		if err := w.retry(ctx); err != nil {
			return err
		}
		e.Reason = w.reason
	}
	if len(w.changed) <= MaxDirs {
		e.Dirs = slices.Sorted(maps.Keys(w.changed))
	}
	clear(w.changed)
	return w.each(e)
}

// retry watches the directories that could not be watched, if others have ended since.
func (w *watching) retry(ctx context.Context) error {
	list := w.unwatched
	w.unwatched, w.reason = nil, ""
	for n, dir := range list {
		if err := w.walk(ctx, dir); err != nil {
			return err
		}
		if w.reason != "" {
			w.unwatched = append(w.unwatched, list[n+1:]...)
			break
		}
	}
	return nil
}

// handle handles one event of the kernel.
func (w *watching) handle(ctx context.Context, e fsx.Event) error {
	if e.Mask&unix.IN_Q_OVERFLOW != 0 {
		return errOverflow
	}
	dir, known := w.paths[e.WD]
	switch {
	case !known: // it was renamed, or is one that was watched before
		return nil
	case dir == "." && e.Mask&(unix.IN_DELETE_SELF|unix.IN_MOVE_SELF|unix.IN_UNMOUNT|unix.IN_IGNORED) != 0:
		return errGone
	case e.Mask&unix.IN_IGNORED != 0: // it was removed
		delete(w.paths, e.WD)
		return nil
	case e.Name == "" && e.Mask&unix.IN_ATTRIB == 0, isOwn(e.Name):
		return nil
	case e.Mask&unix.IN_ISDIR != 0 && e.Name != "":
		return w.handleDir(ctx, dir, e)
	}
	w.changed[dir] = true
	return nil
}

// handleDir handles an event of a directory in dir.
func (w *watching) handleDir(ctx context.Context, dir string, e fsx.Event) error {
	name := join(dir, e.Name)
	if w.skip.Has(name) {
		return nil
	}
	w.changed[dir] = true
	switch {
	case e.Mask&unix.IN_MOVED_FROM != 0:
		w.forget(name)
	case e.Mask&(unix.IN_CREATE|unix.IN_MOVED_TO) != 0:
		return w.walk(ctx, name)
	}
	return nil
}
