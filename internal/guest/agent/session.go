package agent

import (
	"context"
	"errors"
	"net"
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

type sessionTable map[stream.ID]*session

// session is a command or copy and the pipe to its client. It belongs to the agent, not to the
// connection.
type session struct {
	pipe   *stream.Pipe
	ctx    context.Context // ends when the client will not return
	hangUp context.CancelCauseFunc

	ended chan struct{} // closed when the session has ended completely
	began time.Time

	// guarded by server.mu
	open     stdio.Open // its first message, once received
	mux      *stdio.Mux
	attached uint32 // number of the newest attachment, from 1 up
	away     bool   // its client has no connection
	expiry   *time.Timer
	place    *forward.Place // among the connections; nil: it does not carry one
}

// serveStream attaches a client to its session, and begins the session if it is new.
func (s *server) serveStream(mux *agentproto.Mux, channel net.Conn) {
	wish, err := stream.Accept(channel)
	if err != nil {
		return
	}
	sess, attached, err := s.attach(wish)
	if errors.Is(err, errOvertaken) {
		_ = wish.Drop()
		return
	}
	if err != nil {
		_ = wish.Refuse(err)
		return
	}
	_ = wish.Serve(sess.pipe)
	s.gone(sess, attached)
	lost := time.NewTimer(s.limits.lost)
	defer lost.Stop()
	select {
	case <-sess.pipe.Done(): // the client closed the session, or has received everything
		s.detach(sess, attached, 0)
		return
	default:
	}
	select {
	case <-sess.pipe.Done():
		s.detach(sess, attached, 0)
	case <-mux.Done(): // the link broke: the client returns through another
		s.detach(sess, attached, s.limits.detached)
	case <-lost.C: // the client was killed
		s.detach(sess, attached, 0)
	}
}

// attach finds or begins the session of a request, and returns the number of the attachment.
func (s *server) attach(wish *stream.Attachment) (*session, uint32, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sess := s.sessions[wish.ID]
	switch {
	case sess != nil && wish.Try < sess.attached:
		return nil, 0, errOvertaken
	case sess != nil:
	case s.ctx.Err() != nil:
		return nil, 0, api.Errorf(api.KindConflict, "the guest is shutting down")
	case !wish.Create:
		return nil, 0, api.Errorf(api.KindNotFound, "unknown stream: the guest was restarted, or the session ended long ago")
	case !wish.Connection && len(s.sessions)-s.connections >= s.limits.sessions:
		return nil, 0, api.Errorf(api.KindConflict, "the guest already has %d open sessions", s.limits.sessions).
			WithHint(agentproto.HintEndSome)
	default:
		sess = &session{pipe: stream.New(wish.ID), ended: make(chan struct{}), began: time.Now()}
		sess.ctx, sess.hangUp = context.WithCancelCause(s.ctx)
		if wish.Connection {
			if err := s.enter(sess); err != nil {
				return nil, 0, err
			}
		}
		s.sessions[wish.ID] = sess
		s.work.Go(func() { s.run(sess) })
	}
	if sess.expiry != nil {
		sess.expiry.Stop()
		sess.expiry = nil
	}
	sess.attached, sess.away = wish.Try+1, false
	return sess, sess.attached, nil
}

// gone records that the client's connection has ended.
func (s *server) gone(sess *session, attached uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sess.away = sess.attached == attached
}

// detach hangs up a session after a delay, unless it was attached again.
func (s *server) detach(sess *session, attached uint32, after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sess.attached != attached || sess.ctx.Err() != nil {
		return
	}
	if after == 0 {
		sess.hangUp(errGone)
		return
	}
	sess.expiry = time.AfterFunc(after, func() { sess.hangUp(errGone) })
}

// errOvertaken means that a later attempt of the client was attached first.
var errOvertaken = errors.New("the client has attached again since")

var errGone = api.Errorf(api.KindCanceled, "the client is gone")

// run serves the session from its first message until the client has the whole answer, or is gone.
func (s *server) run(sess *session) {
	defer s.forget(sess)
	stop := context.AfterFunc(sess.ctx, func() { sess.pipe.Reset(context.Cause(sess.ctx)) })
	defer stop()
	open, err := stdio.ReadOpen(sess.pipe)
	if err != nil {
		sess.pipe.Reset(api.Errorf(api.KindInvalid, "cannot read the request: %w", err))
		return
	}
	s.mu.Lock()
	sess.open = open
	s.mu.Unlock()
	s.do(sess, open)
	_ = sess.pipe.CloseWrite()
	select {
	case <-sess.pipe.Flushed():
	case <-sess.pipe.Done():
	}
}

// do runs the session's job and sends its exit.
func (s *server) do(sess *session, open stdio.Open) {
	var job job
	switch {
	case open.Exec != nil && open.Exec.Main:
		job = mainCommand{s.newCommand(*open.Exec)}
	case open.Exec != nil:
		job = s.newExec(sess, *open.Exec)
	case open.Start != nil:
		job = s.newStart(sess, *open.Start)
	case open.Attach != nil:
		job = s.newAttach(sess, *open.Attach)
	case open.Leave != nil:
		job = leaving{s, *open.Leave}
	case open.List != nil:
		job = listing{s}
	case open.Put != nil:
		job = s.newPut(*open.Put)
	case open.Get != nil:
		job = s.newGet(*open.Get)
	case open.Stat != nil:
		job = s.newStat(*open.Stat)
	case open.Connect != nil:
		job = s.newConnect(sess, *open.Connect)
	case open.Listen != nil:
		job = s.newListen(*open.Listen)
	case open.Accept != nil:
		job = s.newAccept(sess, *open.Accept)
	case open.Ports != nil:
		job = listPorts{}
	case open.CopyIn != nil:
		job = s.newCopyIn(sess, *open.CopyIn)
	case open.CopyOut != nil:
		job = s.newCopyOut(*open.CopyOut)
	case open.SSH != nil:
		job = s.newSSH(*open.SSH)
	default:
		job = failing{api.Errorf(api.KindUnsupported, "the guest's agent does not know this kind of session")}
	}
	m := stdio.New(sess.pipe, stdio.Handler{Signal: job.signal, Resize: job.resize}, stdio.Stdin)
	s.mu.Lock()
	sess.mux = m
	s.mu.Unlock()
	read := make(chan struct{})
	go func() {
		defer close(read)
		_ = m.Run()
	}()
	exit := job.run(sess.ctx, m)
	_ = m.Exit(exit)
	s.work.Go(func() { <-read })
}

// job is the work of a session.
type job interface {
	run(ctx context.Context, m *stdio.Mux) stdio.Exit
	signal(number int)
	resize(rows, cols uint16)
}

// failing is a job that only returns an error.
type failing struct{ err error }

func (f failing) run(context.Context, *stdio.Mux) stdio.Exit {
	return stdio.Exit{Error: api.AsError(f.err)}
}
func (failing) signal(int)            {}
func (failing) resize(uint16, uint16) {}

// forget ends the session's pipe and drops it from the table.
func (s *server) forget(sess *session) {
	_ = sess.pipe.Close()
	sess.hangUp(errGone)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, sess.pipe.ID())
	if sess.place != nil {
		sess.place.Leave()
		s.connections--
	}
	close(sess.ended)
	if sess.expiry != nil {
		sess.expiry.Stop()
	}
}
