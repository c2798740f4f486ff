package partial

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// Event is what a watch reports. Its fields are those of client.TreeEvent, in their order, so that one
// can be converted to the other.
type Event struct {
	Ready  bool     // everything is watched from now on
	Dirs   []string // in which something changed
	All    bool     // anything may have changed
	Reason string   // why not everything is watched
}

// Changes collects the directories of a guest in which something changed, while they are watched. It
// is for passes that run one after the other, and for one watch at a time. Whole is how long passes
// may do without a whole listing: a change may go unnoticed (inotify(7)).
type Changes struct {
	Whole time.Duration

	mu      sync.Mutex
	watched bool // without gaps
	unknown bool // what happened before is for a whole listing
	listed  time.Time
	dirs    map[string]bool
}

// Note notes what a watch reports.
func (c *Changes) Note(e Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.Ready || e.All || !c.watched {
		c.unknown = true
	}
	c.watched = e.Reason == "" && (e.Ready || e.All || c.watched)
	if c.unknown {
		c.dirs = nil
		return
	}
	for _, dir := range e.Dirs {
		if c.dirs == nil {
			c.dirs = map[string]bool{}
		}
		c.dirs[dir] = true
	}
}

// Lost notes that the watch has ended.
func (c *Changes) Lost() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watched = false
}

// Known reports whether Take has directories to return: something has changed in them.
func (c *Changes) Known() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.dirs) > 0
}

// Take returns the directories in which something may have changed since the last time, sorted. ok
// is false if everything is to be listed.
func (c *Changes) Take() (dirs []string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	dirs, ok = slices.Sorted(maps.Keys(c.dirs)), c.watched && !c.unknown && time.Since(c.listed) < c.Whole
	if !ok {
		dirs, c.unknown, c.listed = nil, !c.watched, time.Now()
	}
	c.dirs = nil
	return dirs, ok
}

// Failed has the next Take ask for a whole listing: what the last one has returned did not help.
func (c *Changes) Failed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unknown = true
}
