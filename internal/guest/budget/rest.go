package budget

import (
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// restAfter is how long a process must have moved nothing before memory goes back to the
	// machine. Left alone, Go's collector keeps what a load needed for minutes.
	restAfter = 2 * time.Second
	// worthIt is how much a process must have taken since the last time, in bytes: somebody
	// who types now and then costs no collection each time.
	worthIt = 2 << 20
)

// Rest gives memory back once the process is at rest.
type Rest struct {
	moved atomic.Bool // since the timer was looked at
	armed atomic.Bool

	mu    sync.Mutex
	timer *time.Timer
	over  bool
	low   uint64 // what the process had when it was last at rest
}

// Use says that something was moved. It is cheap.
func (r *Rest) Use() {
	r.moved.Store(true)
	if r.armed.Load() || r.armed.Swap(true) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.over:
	case r.timer == nil:
		r.timer = time.AfterFunc(restAfter, r.look)
	default:
		r.timer.Reset(restAfter)
	}
}

// look is called restAfter after something was moved.
func (r *Rest) look() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return
	}
	if r.moved.Swap(false) {
		r.timer.Reset(restAfter)
		return
	}
	if taken() > r.low+worthIt {
		debug.FreeOSMemory()
		debug.FreeOSMemory() // a sync.Pool is empty after two collections
		if !r.moved.Load() { // else this may be what the next load takes
			r.low = taken()
		}
	}
	r.armed.Store(false)
	if r.moved.Load() && !r.armed.Swap(true) { // it came between
		r.timer.Reset(restAfter)
	}
}

// Stop ends it for good.
func (r *Rest) Stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	if r.timer != nil {
		r.timer.Stop()
	}
}

// taken is what the Go runtime has of the machine's memory, in bytes (package
// runtime/metrics).
func taken() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64() - s[1].Value.Uint64()
}
