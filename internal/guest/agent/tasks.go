package agent

import (
	"context"
	"encoding/hex"
	"maps"
	"slices"
	"sync"
	"time"

	"banger/api"
	"banger/internal/guest/agent/process"
	"banger/internal/guest/agentproto"
	"banger/internal/idref"
)

// maxKept is how many commands may run without a client, including ended ones with unread
// output.
const maxKept = 64

// tasks are the commands of all clients, and those that continue without one.
type tasks struct {
	ctx      context.Context // ends with the agent
	work     *sync.WaitGroup // of the agent
	programs *process.Runner

	mu   sync.Mutex
	byID map[string]*task
}

func newTasks(ctx context.Context, work *sync.WaitGroup, programs *process.Runner) *tasks {
	return &tasks{ctx: ctx, work: work, programs: programs, byID: map[string]*task{}}
}

// create creates a task with the id of a session.
func (s *tasks) create(sess *session, exec api.Exec, kept bool) (*task, error) {
	t := &task{
		tasks: s, exec: exec, command: s.programs.Command(exec), in: newStdinSwitch(), out: newOutputBuffer(), err: newOutputBuffer(), began: time.Now(),
		started: make(chan struct{}), done: make(chan struct{}), kept: kept,
	}
	t.command.OnStart = func() { close(t.started) }
	t.ctx, t.hangUp = context.WithCancelCause(s.ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if kept {
		if err := s.roomToKeep(); err != nil {
			return nil, err
		}
	}
	id := sess.pipe.ID()
	for n := 4; ; n++ {
		if t.id = hex.EncodeToString(id[:n]); s.byID[t.id] == nil {
			break
		}
	}
	s.byID[t.id] = t
	return t, nil
}

// roomToKeep makes room for one more kept task: it removes the oldest that has ended, if necessary. The
// caller holds mu.
func (s *tasks) roomToKeep() error {
	kept, oldest := 0, (*task)(nil)
	for _, t := range s.byID {
		if !t.kept {
			continue
		}
		kept++
		if t.client == nil && t.ended() && (oldest == nil || t.began.Before(oldest.began)) {
			oldest = t
		}
	}
	if kept < maxKept {
		return nil
	}
	if oldest == nil {
		return api.Errorf(api.KindConflict, "%d commands already run without a client in this guest", maxKept).
			WithHint(agentproto.HintEndTasks)
	}
	oldest.hangUp(errGone)
	delete(s.byID, oldest.id)
	return nil
}

// find returns the task with an id or the beginning of one, or nil.
func (s *tasks) find(id string) (*task, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var tasks []*task
	var ids []string
	for _, t := range s.byID {
		if t.id == id {
			return t, nil
		}
		tasks, ids = append(tasks, t), append(ids, t.id)
	}
	at, err := idref.Find("sessions", id, ids, func(i int) string { return ids[i] })
	if err != nil || at < 0 {
		return nil, err
	}
	return tasks[at], nil
}

// all returns the tasks.
func (s *tasks) all() []*task {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.byID))
}

// list describes the tasks, except those that are about to be removed.
func (s *tasks) list() []api.Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []api.Session{}
	for _, t := range s.byID {
		if !t.parting() {
			list = append(list, t.describe())
		}
	}
	return list
}

func noSession(id string) *api.Error {
	return api.Errorf(api.KindNotFound, "no session %.40q in this guest", id).WithHint(agentproto.HintSessions)
}
