package daemon

import (
	"runtime/debug"
	"sync"
	"time"
)

// trimAfter is how long no request must have ended before memory goes back to
// the host. Left alone, Go's collector keeps what a burst of requests needed
// for minutes.
const trimAfter = 3 * time.Second

// trimmer gives memory back once the daemon is at rest.
type trimmer struct {
	mu      sync.Mutex
	timer   *time.Timer // nil before the first request
	stopped bool
}

// rest is called at the end of every request.
func (t *trimmer) rest() {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.stopped:
	case t.timer == nil:
		t.timer = time.AfterFunc(trimAfter, debug.FreeOSMemory)
	default:
		t.timer.Reset(trimAfter)
	}
}

// stop ends it for good.
func (t *trimmer) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	if t.timer != nil {
		t.timer.Stop()
	}
}
