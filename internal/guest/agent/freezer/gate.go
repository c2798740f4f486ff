package freezer

import (
	"context"
	"errors"
	"sync"

	"banger/api"
)

// gate lets programs be started, except while the guest is frozen: a program that starts in a frozen
// cgroup stops before its first instruction, and with it the agent, which waits for that
// (vfork(2)).
type gate struct {
	mu     sync.Mutex
	closed *closing // nil: open
	inside int      // programs being started
	empty  chan struct{}
}

// closing is one time of being closed.
type closing struct {
	over    chan struct{} // closed when the gate opens again
	refusal error         // from then on: what those that waited get
}

// enter waits until the gate is open. leave has to follow.
func (g *gate) enter(ctx context.Context) error {
	for {
		g.mu.Lock()
		c := g.closed
		if c == nil {
			g.inside++
			g.mu.Unlock()
			return nil
		}
		g.mu.Unlock()
		select {
		case <-c.over:
			if c.refusal != nil {
				return c.refusal
			}
		case <-ctx.Done():
			return api.Errorf(api.KindCanceled, "the guest is frozen: %w", context.Cause(ctx))
		}
	}
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside--; g.inside == 0 && g.empty != nil {
		close(g.empty)
		g.empty = nil
	}
}

// close closes the gate and waits for those inside. If ctx ends first, it stays open.
func (g *gate) close(ctx context.Context) error {
	g.mu.Lock()
	g.closed = &closing{over: make(chan struct{})}
	var empty chan struct{}
	if g.inside > 0 {
		empty = make(chan struct{})
		g.empty = empty
	}
	g.mu.Unlock()
	if empty == nil {
		return nil
	}
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		g.open(nil)
		return errors.New("a program is still being started")
	}
}

// open lets everybody in, or refuses those that wait.
func (g *gate) open(refusal error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed != nil {
		g.closed.refusal = refusal
		close(g.closed.over)
		g.closed = nil
	}
	g.empty = nil
}

func (g *gate) isClosed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed != nil
}
