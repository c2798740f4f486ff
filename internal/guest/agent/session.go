package agent

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"banger/api"
	"banger/internal/guest/agentproto"
	"banger/internal/guest/forward"
	"banger/internal/guest/stdio"
	"banger/internal/guest/stream"
)

const (
	// detachedFor is how long a session whose link broke waits for its client: the daemon may be
	// replaced in that time.
	detachedFor = 10 * time.Minute
	// lostFor is how long it waits if only the channel broke without a reason: a client that ends
	// sends one, a killed one cannot; but a daemon that stops closes its relays a moment before
	// its link.
	lostFor = 5 * time.Second
)

// limits are the constants above; tests change them.
type limits struct {
	sessions       int // that do not carry a connection
	detached, lost time.Duration
}

// session is a command or copy and the pipe to its client. It belongs to the agent, not to the
// connection.
type session struct {
	pipe   *stream.Pipe
	ctx    context.Context // ends when the client will not return
	hangUp context.CancelCauseFunc

	ended chan struct{} // closed when the session has ended completely
	began time.Time
	place *forward.Place // among the connections; nil: it does not carry one; guarded by sessions.mu

	mu       sync.Mutex
	open     stdio.Open // its first message, once received
	mux      *stdio.Mux
	attached uint32 // number of the newest attachment, from 1 up
	away     bool   // its client has no connection
	expiry   *time.Timer
}

// attach notes a client's attempt to connect, and returns the number of the attachment.
func (sess *session) attach(try uint32) (uint32, error) {
	sess.mu.Lock()
	defer sess.mu.Unlock()
	if try < sess.attached {
		return 0, errOvertaken
	}
	sess.stopExpiry()
	sess.attached, sess.away = try+1, false
	return sess.attached, nil
}

// stopExpiry makes the session wait for its client no longer. The caller holds mu.
func (sess *session) stopExpiry() {
	if sess.expiry != nil {
		sess.expiry.Stop()
		sess.expiry = nil
	}
}

// gone records that the client's connection has ended.
func (sess *session) gone(attached uint32) {
	sess.mu.Lock()
	defer sess.mu.Unlock()
	sess.away = sess.attached == attached
}

// detach hangs up a session after a delay, unless it was attached again.
func (sess *session) detach(attached uint32, after time.Duration) {
	sess.mu.Lock()
	defer sess.mu.Unlock()
	if sess.attached != attached || sess.ctx.Err() != nil {
		return
	}
	if after == 0 {
		sess.hangUp(errGone)
		return
	}
	sess.expiry = time.AfterFunc(after, func() { sess.hangUp(errGone) })
}

// isAway reports whether the client has no connection.
func (sess *session) isAway() bool {
	sess.mu.Lock()
	defer sess.mu.Unlock()
	return sess.away
}

// serveStream attaches a client to its session, and begins the session if it is new.
func (s *server) serveStream(mux *agentproto.Mux, channel net.Conn) {
	wish, err := stream.Accept(channel)
	if err != nil {
		return
	}
	if err := wish.Within(s.self.Timeline()); err != nil {
		_ = wish.Refuse(err)
		return
	}
	sess, attached, created, err := s.sessions.attach(wish)
	if errors.Is(err, errOvertaken) {
		_ = wish.Drop()
		return
	}
	if err != nil {
		_ = wish.Refuse(err)
		return
	}
	if created {
		s.work.Go(func() { s.run(sess) })
	}
	_ = wish.Serve(sess.pipe)
	sess.gone(attached)
	lost := time.NewTimer(s.sessions.limits.lost)
	defer lost.Stop()
	select {
	case <-sess.pipe.Done(): // the client closed the session, or has received everything
		sess.detach(attached, 0)
		return
	default:
	}
	select {
	case <-sess.pipe.Done():
		sess.detach(attached, 0)
	case <-mux.Done(): // the link broke: the client returns through another
		sess.detach(attached, s.sessions.limits.detached)
	case <-lost.C: // the client was killed
		sess.detach(attached, 0)
	}
}

// endOrphan hangs up a copy to the same place whose client is disconnected.
func (sess *session) endOrphan(c stdio.Copy) bool {
	sess.mu.Lock()
	defer sess.mu.Unlock()
	into := sess.open.CopyIn
	if into == nil || into.Path != c.Path || into.Name != c.Name || !sess.away {
		return false
	}
	sess.hangUp(api.Errorf(api.KindConflict, "another copy to the same place has begun"))
	return true
}

// errOvertaken means that a later attempt of the client was attached first.
var errOvertaken = errors.New("the client has attached again since")

var errGone = api.Errorf(api.KindCanceled, "the client is gone")

// run serves the session from its first message until the client has the whole answer, or is gone.
func (s *server) run(sess *session) {
	defer s.sessions.forget(sess)
	stop := context.AfterFunc(sess.ctx, func() { sess.pipe.Reset(context.Cause(sess.ctx)) })
	defer stop()
	open, err := stdio.ReadOpen(sess.pipe)
	if err != nil {
		sess.pipe.Reset(api.Errorf(api.KindInvalid, "cannot read the request: %w", err))
		return
	}
	sess.mu.Lock()
	sess.open = open
	sess.mu.Unlock()
	s.do(sess, open)
	_ = sess.pipe.CloseWrite()
	select {
	case <-sess.pipe.Flushed():
	case <-sess.pipe.Done():
	}
}
