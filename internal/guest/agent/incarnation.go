package agent

import (
	"fmt"

	"banger/api"
	"banger/internal/guest/agentproto"
	"banger/internal/guest/stream"
)

// greeted handles a greeting and completes its answer.
func (s *server) greeted(h agentproto.Hello, ack *agentproto.Ack) {
	s.self.Greeted(h, ack, func() *agentproto.Done { return s.incarnate(h) }, func() {
		if s.OnHello != nil {
			s.OnHello(h)
		}
	})
}

// incarnate makes the guest the incarnation of a greeting, before any of its programs continues.
func (s *server) incarnate(h agentproto.Hello) *agentproto.Done {
	done := &agentproto.Done{Frozen: s.Freezer.Frozen()}
	var must error
	if s.Incarnate != nil {
		done.Steps, must = s.Incarnate(h)
	}
	if must != nil {
		done.Running = !s.Freezer.Keep(must)
		return done
	}
	var refusal error
	if h.Incarnation.Mode != agentproto.ModeSame {
		done.Steps = append(done.Steps, s.leaveClients())
		refusal = api.Errorf(api.KindFrozen, "the guest was saved before it began")
	}
	if _, err := s.Freezer.End(refusal); err != nil {
		done.Steps = append(done.Steps, agentproto.Step{Name: agentproto.StepThaw, State: agentproto.StepFailed, Detail: err.Error()})
		return done
	}
	done.Running = true
	return done
}

// leaveClients parts the sessions from their clients, which are those of another guest. Commands
// continue without one, and can be attached to by their ids.
func (s *server) leaveClients() agentproto.Step {
	kept := 0
	for _, t := range s.tasks.all() {
		if t.part() {
			kept++
		}
	}
	sessions := s.sessions.all()
	for _, sess := range sessions {
		sess.hangUp(stream.ErrOtherTimeline)
	}
	if len(sessions) == 0 {
		return agentproto.Step{Name: agentproto.StepSessions, State: agentproto.StepSkipped, Detail: "no session was open"}
	}
	return agentproto.Step{Name: agentproto.StepSessions, State: agentproto.StepDone,
		Detail: fmt.Sprintf("%d detached, %d ended", kept, len(sessions)-kept)}
}

// part makes a task continue without its client, and reports whether it had one and continues.
func (t *task) part() bool {
	t.moving.Lock()
	defer t.moving.Unlock()
	s := t.tasks
	s.mu.Lock()
	c := t.client
	s.mu.Unlock()
	if c == nil || t.ended() {
		return false
	}
	if got, err := t.keep(c.id()); err != nil || got == nil {
		return false
	}
	c.why = stream.ErrOtherTimeline
	t.release(c, 0, false)
	return true
}
