package agent

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"banger/api"
	"banger/internal/guest/agentproto"
	"banger/internal/guest/forward"
	"banger/internal/guest/stdio"
	"banger/internal/guest/stream"
)

// sessions are the sessions of all clients, and their places among the connections.
type sessions struct {
	ctx    context.Context // ends with the agent
	limits limits
	crowd  *forward.Crowd // the sessions that carry a connection
	frozen func() bool    // no session may begin

	mu          sync.Mutex
	byID        map[stream.ID]*session
	connections int // sessions that carry one
}

func newSessions(ctx context.Context, l limits, crowd *forward.Crowd) *sessions {
	return &sessions{ctx: ctx, limits: l, crowd: crowd, byID: map[stream.ID]*session{}}
}

// attach finds or creates the session of a request, and returns the number of the attachment.
func (s *sessions) attach(wish *stream.Attachment) (sess *session, attached uint32, created bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sess = s.byID[wish.ID]; sess == nil {
		created = true
		if sess, err = s.create(wish); err != nil {
			return nil, 0, false, err
		}
	}
	attached, err = sess.attach(wish.Try)
	return sess, attached, created, err
}

// create creates the session of a request. The caller holds mu.
func (s *sessions) create(wish *stream.Attachment) (*session, error) {
	switch {
	case s.ctx.Err() != nil:
		return nil, api.Errorf(api.KindConflict, "the guest is shutting down")
	case wish.Create && s.frozen():
		// A session that began now would be in the saved guest, and in each copy of it.
		return nil, api.Errorf(api.KindFrozen, "the guest is frozen for a moment")
	case !wish.Create:
		return nil, api.Errorf(api.KindNotFound, "unknown stream: the guest was restarted, or the session ended long ago")
	case !wish.Connection && len(s.byID)-s.connections >= s.limits.sessions:
		return nil, api.Errorf(api.KindConflict, "the guest already has %d open sessions", s.limits.sessions).
			WithHint(agentproto.HintEndSome)
	}
	sess := &session{pipe: stream.New(wish.ID), ended: make(chan struct{}), began: time.Now()}
	sess.ctx, sess.hangUp = context.WithCancelCause(s.ctx)
	if wish.Connection {
		if err := s.enter(sess); err != nil {
			return nil, err
		}
	}
	s.byID[wish.ID] = sess
	return sess, nil
}

// forget ends the session's pipe and drops it from the table.
func (s *sessions) forget(sess *session) {
	_ = sess.pipe.Close()
	sess.hangUp(errGone)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, sess.pipe.ID())
	if sess.place != nil {
		sess.place.Leave()
		s.connections--
	}
	close(sess.ended)
	sess.mu.Lock()
	defer sess.mu.Unlock()
	sess.stopExpiry()
}

// isConnection makes sure that a session has a place among the connections: an older client does
// not announce a connection.
func (s *sessions) isConnection(sess *session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sess.place != nil {
		return nil
	}
	return s.enter(sess)
}

// enter gives a session a place among the connections, if there is one. The same number of
// sessions may be about to end, with clients that have not read everything. The caller holds mu.
func (s *sessions) enter(sess *session) error {
	if s.connections < 2*s.crowd.Limit() {
		sess.place = s.crowd.Enter(func() { sess.hangUp(errIdle) })
	}
	if sess.place == nil {
		return api.Errorf(api.KindConflict, "the guest already has %d open connections, the limit for its memory", s.crowd.Limit()).
			WithHint(agentproto.HintEndSome)
	}
	s.connections++
	sess.pipe.Narrow()
	return nil
}

// endOrphans ends earlier copies to the same place whose clients are disconnected: a client that
// was killed and restarted continues where the earlier one stopped.
func (s *sessions) endOrphans(sess *session, c stdio.Copy) {
	s.mu.Lock()
	var ended []*session
	for _, other := range s.byID {
		if other != sess && other.endOrphan(c) {
			ended = append(ended, other)
		}
	}
	s.mu.Unlock()
	for _, other := range ended {
		select {
		case <-other.ended:
		case <-sess.ctx.Done():
			return
		}
	}
}

// all returns the sessions.
func (s *sessions) all() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.byID))
}

// count returns how many there are.
func (s *sessions) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byID)
}
