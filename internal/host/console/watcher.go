package console

import (
	"cmp"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"banger/internal/host/fsx"
)

// minScanInterval is the minimal time between two checks of a log. A guest that writes
// continuously costs one check in that time, a silent one nothing.
const minScanInterval = time.Second

// Watcher bounds any number of logs, with one inotify descriptor.
type Watcher struct {
	log    *slog.Logger
	events *fsx.Watcher
	most   int64
	keep   int64
	rest   time.Duration

	mu     sync.Mutex
	closed bool
	logs   map[string]*watched // by path
	byWD   map[int]*watched
	wg     sync.WaitGroup
}

type watched struct {
	path  string
	after func() // may be nil
	wd    int
	timer *time.Timer // runs between an event and the next check
}

// NewWatcher returns a watcher that watches nothing yet. It cuts a log to keep bytes,
// of which 0 means Keep, when it is four times as long.
func NewWatcher(log *slog.Logger, keep int64) (*Watcher, error) {
	keep = cmp.Or(keep, Keep)
	return newWatcher(log, Max/Keep*keep, keep, minScanInterval)
}

func newWatcher(log *slog.Logger, most, keep int64, rest time.Duration) (*Watcher, error) {
	events, err := fsx.NewWatcher()
	if err != nil {
		return nil, cannotWatch(err)
	}
	w := &Watcher{log: log, events: events, most: most, keep: keep, rest: rest, logs: map[string]*watched{}, byWD: map[int]*watched{}}
	w.wg.Go(w.run)
	return w, nil
}

func cannotWatch(err error) error {
	return fmt.Errorf("cannot watch files: %w", os.NewSyscallError("inotify_init1", err))
}

// Watch trims the log at path now and whenever it grows, until stop is called. The log
// has to exist. after is called after each check, may be nil, and must not call the
// watcher.
func (w *Watcher) Watch(path string, after func()) (stop func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.logs[path] != nil {
		return func() {}
	}
	l := &watched{path: path, after: after, wd: -1}
	w.logs[path] = l
	w.look(l)
	return func() { w.forget(l) }
}

// Close stops all watching.
func (w *Watcher) Close() {
	w.mu.Lock()
	w.closed = true
	for _, l := range w.logs {
		w.drop(l)
	}
	w.mu.Unlock()
	w.events.Close()
	w.wg.Wait()
}

func (w *Watcher) forget(l *watched) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.logs[l.path] == l {
		w.drop(l)
	}
}

// drop stops watching l. The caller holds mu.
func (w *Watcher) drop(l *watched) {
	delete(w.logs, l.path)
	w.disarm(l)
	if l.timer != nil && l.timer.Stop() {
		w.wg.Done()
	}
	l.timer = nil
}

func (w *Watcher) disarm(l *watched) {
	if l.wd >= 0 {
		w.events.Remove(l.wd)
		delete(w.byWD, l.wd)
		l.wd = -1
	}
}

// look watches for the next write and trims the log, in that order, so that no write is
// missed. The caller holds mu.
func (w *Watcher) look(l *watched) {
	wd, err := w.events.Add(l.path, unix.IN_MODIFY|unix.IN_ONESHOT)
	if err != nil {
		w.log.Warn("cannot bound a log", "error", fmt.Errorf("cannot watch %s: %w", l.path, err))
		return
	}
	l.wd, w.byWD[wd] = wd, l
	if err := trim(l.path, w.most, w.keep); err != nil {
		w.log.Warn("cannot trim a log", "path", l.path, "error", err)
	}
	if l.after != nil {
		l.after()
	}
}

// run handles events until the descriptor is closed.
func (w *Watcher) run() {
	for {
		events, err := w.events.Events()
		if err != nil {
			return
		}
		for _, e := range events {
			if e.Mask&unix.IN_MODIFY != 0 {
				w.modified(e.WD)
			}
		}
	}
}

// modified delays the next check of a written log. Its watch has ended.
func (w *Watcher) modified(wd int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.byWD[wd]
	if l == nil || w.closed {
		return
	}
	delete(w.byWD, wd)
	l.wd = -1
	w.wg.Add(1)
	l.timer = time.AfterFunc(w.rest, func() {
		defer w.wg.Done()
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.logs[l.path] == l {
			l.timer = nil
			w.look(l)
		}
	})
}
