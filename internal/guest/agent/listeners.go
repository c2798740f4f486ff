package agent

import (
	"context"
	"encoding/json"
	"net"
	"sync"
	"time"

	"banger/api"
	"banger/internal/guest/forward"
	"banger/internal/guest/stdio"
)

const (
	// maxPending is how many connections may wait to be accepted by the client; further ones wait
	// in the kernel's queue.
	maxPending = 64
	// pendingFor is how long one waits: the client may be disconnected for a moment.
	pendingFor = 30 * time.Second
)

// listeners are the connections that wait for clients.
type listeners struct {
	mu     sync.Mutex
	byName map[string]*pending // by the name that the client gave
}

func newListeners() *listeners { return &listeners{byName: map[string]*pending{}} }

// add creates the place for a listener's connections.
func (l *listeners) add(name string) (*pending, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if name == "" || l.byName[name] != nil {
		return nil, api.Errorf(api.KindExists, "the listener's name is empty or already used")
	}
	p := &pending{room: make(chan struct{}, maxPending), conns: map[int]waiting{}}
	l.byName[name] = p
	return p, nil
}

// remove closes a listener's connections that were not accepted.
func (l *listeners) remove(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.byName[name].close()
	delete(l.byName, name)
}

// accept returns a waiting connection of a listener, or nil.
func (l *listeners) accept(name string, number int) net.Conn {
	l.mu.Lock()
	p := l.byName[name]
	l.mu.Unlock()
	if p == nil {
		return nil
	}
	return p.take(number)
}

// pending are the connections of one listener that the client has not accepted yet.
type pending struct {
	room chan struct{} // holds one for each

	mu    sync.Mutex
	conns map[int]waiting
	last  int
}

type waiting struct {
	conn  net.Conn
	timer *time.Timer
}

// report reports a listener's connections until it is closed.
func (p *pending) report(ctx context.Context, listener net.Listener, tell *json.Encoder) error {
	if err := tell.Encode(stdio.Taken{Address: listener.Addr().String()}); err != nil {
		return err
	}
	for {
		select {
		case p.room <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		conn, err := forward.Accept(listener)
		if err != nil {
			return api.Errorf(api.KindInternal, "cannot continue to listen in the guest: %w", err)
		}
		if err := tell.Encode(stdio.Taken{Number: p.put(conn), Address: conn.RemoteAddr().String()}); err != nil {
			return err
		}
	}
}

// put adds a waiting connection.
func (p *pending) put(conn net.Conn) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	number := p.last
	p.conns[number] = waiting{conn, time.AfterFunc(pendingFor, func() {
		if c := p.take(number); c != nil {
			forward.Abort(c)
		}
	})}
	return number
}

// take returns a waiting connection, or nil.
func (p *pending) take(number int) net.Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	w, ok := p.conns[number]
	if !ok {
		return nil
	}
	delete(p.conns, number)
	w.timer.Stop()
	<-p.room
	return w.conn
}

// close closes those that wait.
func (p *pending) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.conns {
		w.timer.Stop()
		forward.Abort(w.conn)
	}
	clear(p.conns)
}
