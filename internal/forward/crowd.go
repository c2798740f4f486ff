package forward

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// SilentFor is how long a connection must have carried nothing before it may have to make
// way for another. Until there are too many, silent ones stay for ever, as with no
// forwarder between; keep-alive probes find the dead (tcp(7)).
const SilentFor = time.Minute

// Crowd is the connections that a process carries, so many at once. When there is no place
// for a new one, the one that has been silent for longest makes way, if that is SilentFor.
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

// Place is a connection's in a crowd. Methods of nil do nothing.
type Place struct {
	crowd *Crowd
	end   func()
	used  atomic.Int64 // when it last carried something, ns since 1970
}

// Limit is how many connections there may be.
func (c *Crowd) Limit() int { return c.limit }

// Enter takes a place, nil if there is none. end is called, once at most, when the
// connection has to make way: it returns at once, and the place is another's already.
func (c *Crowd) Enter(end func()) *Place {
	p, _ := c.enter(end)
	return p
}

func (c *Crowd) enter(end func()) (p *Place, freed chan struct{}) {
	c.mu.Lock()
	var out *Place
	if len(c.open) >= c.limit {
		if out = c.longestSilent(); out == nil {
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

// longestSilent returns the connection that is to make way, nil for none.
func (c *Crowd) longestSilent() *Place {
	var longest *Place
	oldest := time.Now().Add(-c.Silent).UnixNano()
	for p := range c.open {
		if used := p.used.Load(); used <= oldest {
			longest, oldest = p, used
		}
	}
	return longest
}

// lookAgain is how often a connection that waits for a place looks for one that has
// become silent for long enough.
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

// Use notes that the connection carries something.
func (p *Place) Use() {
	if p != nil {
		p.used.Store(time.Now().UnixNano())
	}
}

// Leave gives the place back.
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
