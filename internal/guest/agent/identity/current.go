package identity

import (
	"strconv"
	"sync"

	"banger/internal/guest/agentproto"
)

// Current is which continuation of a saved guest this is. The zero value is that of one that was never
// saved.
type Current struct {
	mu   sync.Mutex
	now  *agentproto.Incarnation
	done *agentproto.Done
	// timeline is the generation in which the guest last became another one than its clients knew.
	timeline uint64
}

// Greeted handles a greeting and completes its answer. If the greeting is the first one of an
// incarnation, or the first after one that could not be completed, become makes the guest that
// incarnation; otherwise same is called.
func (c *Current) Greeted(h agentproto.Hello, ack *agentproto.Ack, become func() *agentproto.Done, same func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isNew(h) {
		c.now, c.done = h.Incarnation, become()
		if c.done.Running && h.Incarnation.Mode != agentproto.ModeSame {
			c.timeline = h.Incarnation.Generation
		}
	} else {
		same()
	}
	ack.Incarnation, ack.Done = c.now, c.done
	if c.timeline > 0 {
		ack.BootID += "-" + strconv.FormatUint(c.timeline, 10)
	}
}

// isNew reports whether become has to be called. A lower generation is that of a greeting that has
// waited in the channel. The caller holds mu.
func (c *Current) isNew(h agentproto.Hello) bool {
	switch {
	case !h.Incarnation.Valid() || !h.Identity.Valid():
		return false
	case c.now == nil || h.Incarnation.Generation > c.now.Generation:
		return true
	}
	return h.Incarnation.Generation == c.now.Generation && !c.done.Running
}

// Timeline returns the generation that the clients of this guest know.
func (c *Current) Timeline() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.timeline
}
