package agent

import (
	"context"
	"encoding/json"
	"net"
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

// listening is a job that listens in the guest and reports connections to the client, which
// accepts each in a separate session.
type listening struct {
	server *server
	listen stdio.Listen
}

func (s *server) newListen(l stdio.Listen) listening { return listening{s, l} }

func (l listening) run(ctx context.Context, m *stdio.Mux) stdio.Exit {
	e := l.listen.Endpoint
	if e.Network == stdio.Unix {
		e.Address = l.server.inGuest(e.Address)
	}
	listener, err := forward.Listen(ctx, e)
	if err != nil {
		return stdio.Exit{Error: forward.Refused(err, e, " in the guest"), Errno: errno(err)}
	}
	defer listener.Close()
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	p, err := l.server.keep(l.listen.ID)
	if err != nil {
		return stdio.Exit{Error: api.AsError(err)}
	}
	defer l.server.drop(l.listen.ID)
	err = l.server.reportConnections(ctx, p, listener, json.NewEncoder(m.Out(stdio.Stdout)))
	return stdio.Exit{Error: api.AsError(err)}
}

func (listening) signal(int)            {}
func (listening) resize(uint16, uint16) {}

// pending are the connections of one listener that the client has not accepted yet.
type pending struct {
	room chan struct{} // holds one for each

	// guarded by server.mu
	conns map[int]waiting
	last  int
}

type waiting struct {
	conn  net.Conn
	timer *time.Timer
}

// keep creates the place for a listener's connections.
func (s *server) keep(id string) (*pending, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id == "" || s.listeners[id] != nil {
		return nil, api.Errorf(api.KindExists, "the listener's name is empty or already used")
	}
	p := &pending{room: make(chan struct{}, maxPending), conns: map[int]waiting{}}
	s.listeners[id] = p
	return p, nil
}

// drop closes a listener's connections that were not accepted.
func (s *server) drop(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.listeners[id].conns {
		w.timer.Stop()
		forward.Abort(w.conn)
	}
	delete(s.listeners, id)
}

// reportConnections reports a listener's connections until it is closed.
func (s *server) reportConnections(ctx context.Context, p *pending, listener net.Listener, tell *json.Encoder) error {
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
		if err := tell.Encode(stdio.Taken{Number: s.put(p, conn), Address: conn.RemoteAddr().String()}); err != nil {
			return err
		}
	}
}

// put adds a waiting connection.
func (s *server) put(p *pending, conn net.Conn) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.last++
	number := p.last
	p.conns[number] = waiting{conn, time.AfterFunc(pendingFor, func() {
		if c := s.take(p, number); c != nil {
			forward.Abort(c)
		}
	})}
	return number
}

// take returns a waiting connection, or nil.
func (s *server) take(p *pending, number int) net.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	w, ok := p.conns[number]
	if !ok {
		return nil
	}
	delete(p.conns, number)
	w.timer.Stop()
	<-p.room
	return w.conn
}

func (s *server) newAccept(sess *session, a stdio.Accept) connecting {
	get := func(context.Context) (net.Conn, error) {
		s.mu.Lock()
		p := s.listeners[a.ID]
		s.mu.Unlock()
		if p != nil {
			conn := s.take(p, a.Number)
			switch {
			case conn != nil && a.Refuse:
				forward.Abort(conn)
			case conn != nil:
				return conn, nil
			}
		}
		return nil, api.Errorf(api.KindNotFound, "the connection in the guest has ended")
	}
	return connecting{s, sess, get, "accept a connection"}
}
