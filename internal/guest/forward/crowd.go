package forward

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// SilentFor is how long a connection must have been idle before it may be closed for another. Until
// there are too many, idle ones stay forever, as without a forwarder; keep-alive probes detect
// broken ones (tcp(7)).
const SilentFor = time.Minute

// Crowd limits the connections that a process carries at once. If a new one finds no place,
// the one that has been idle for the longest time, but at least for SilentFor, is closed.
type Crowd struct {
	// Silent is SilentFor; tests change it before anybody enters.
	Silent time.Duration

	limit int

	mu    sync.Mutex
	open  map[*Place]struct{}
	freed chan struct{} // closed and replaced when a place is free
}

// NewCrowd returns a crowd of limit connections at most.
func NewCrowd(limit int) *Crowd {
	return &Crowd{limit: limit, Silent: SilentFor, open: map[*Place]struct{}{}, freed: make(chan struct{})}
}

// Place is a connection's place in a Crowd. Methods of nil do nothing.
type Place struct {
	crowd *Crowd
	end   func()
	used  atomic.Int64 // when it last carried something, ns since 1970
}

// Limit is how many connections there may be.
func (c *Crowd) Limit() int { return c.limit }

// Enter returns a place, or nil if there is none. end is called at most once, when the connection has
// to be closed for another: it must return immediately, and the place already belongs to the other.
func (c *Crowd) Enter(end func()) *Place {
	p, _ := c.enter(end)
	return p
}

func (c *Crowd) enter(end func()) (p *Place, freed chan struct{}) {
	c.mu.Lock()
	var out *Place
	if len(c.open) >= c.limit {
		if out = c.longestIdle(); out == nil {
			defer c.mu.Unlock()
			return nil, c.freed
		}
		delete(c.open, out)
	}
	p = &Place{crowd: c, end: end}
	p.Use()
	c.open[p] = struct{}{}
	c.mu.Unlock()
	if out != nil {
		out.end()
	}
	return p, nil
}

// longestIdle returns the connection to close for another, or nil if there is none.
func (c *Crowd) longestIdle() *Place {
	var longest *Place
	oldest := time.Now().Add(-c.Silent).UnixNano()
	for p := range c.open {
		if used := p.used.Load(); used <= oldest {
			longest, oldest = p, used
		}
	}
	return longest
}

// lookAgain is how often a connection that waits for a place checks for one that has been idle for
// long enough.
const lookAgain = time.Second

// Wait is Enter, but waits for a place until ctx ends; then it returns nil.
func (c *Crowd) Wait(ctx context.Context, end func()) *Place {
	for {
		p, freed := c.enter(end)
		if p != nil {
			return p
		}
		timer := time.NewTimer(lookAgain)
		select {
		case <-freed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		timer.Stop()
	}
}

// Use records that the connection carries data.
func (p *Place) Use() {
	if p != nil {
		p.used.Store(time.Now().UnixNano())
	}
}

// Leave releases the place.
func (p *Place) Leave() {
	if p == nil {
		return
	}
	c := p.crowd
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, in := c.open[p]; in {
		delete(c.open, p)
		close(c.freed)
		c.freed = make(chan struct{})
	}
}
