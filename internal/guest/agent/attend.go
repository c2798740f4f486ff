package agent

import (
	"context"
	"strings"

	"banger/api"
	"banger/internal/guest/stdio"
	"banger/internal/idref"
)

// attending is a job that connects a client to its command.
type attending struct {
	sess   *session
	task   *task
	launch bool
	attach *stdio.Attach
}

func (s *server) newExec(sess *session, exec api.Exec) job {
	t, err := s.tasks.create(sess, exec, false)
	if err != nil {
		return failing{err}
	}
	return attending{sess: sess, task: t, launch: true}
}

func (s *server) newAttach(sess *session, attach stdio.Attach) job {
	t, err := s.findTask(attach.ID)
	if err != nil {
		return failing{err}
	}
	return attending{sess: sess, task: t, attach: &attach}
}

func (a attending) run(_ context.Context, m *stdio.Mux) stdio.Exit {
	if a.launch {
		a.task.launch()
	} else if a.attach.Rows > 0 {
		a.task.command.Redraw(a.attach.Rows, a.attach.Cols)
	}
	return a.task.serve(a.sess, m)
}

func (a attending) signal(number int)        { a.task.command.Signal(number) }
func (a attending) resize(rows, cols uint16) { a.task.command.Resize(rows, cols) }

// starting is a job that starts a command which continues without a client.
type starting struct {
	attending
}

func (s *server) newStart(sess *session, exec api.Exec) job {
	t, err := s.tasks.create(sess, exec, true)
	if err != nil {
		return failing{err}
	}
	if !exec.TTY {
		t.in.end() // no client can write to it before it reads
	}
	return starting{attending{sess: sess, task: t, launch: true}}
}

func (st starting) run(_ context.Context, m *stdio.Mux) stdio.Exit {
	t := st.task
	t.launch()
	select {
	case <-t.started:
		return stdio.Exit{Started: t.id}
	case <-t.done:
	}
	select {
	case <-t.started: // and ended immediately
		return stdio.Exit{Started: t.id}
	default:
	}
	s := t.tasks
	s.mu.Lock()
	t.kept = false // no command runs
	s.mu.Unlock()
	return t.serve(st.sess, m) // returns why it did not start
}

// leaving is a job that makes a command continue when its client disconnects.
type leaving struct {
	server *server
	leave  stdio.Leave
}

func (l leaving) run(context.Context, *stdio.Mux) stdio.Exit {
	t, err := l.server.findTask(l.leave.ID)
	if err == nil {
		err = t.leave(l.leave.Client)
	}
	if err != nil {
		return stdio.Exit{Error: api.AsError(err)}
	}
	return stdio.Exit{Started: t.id}
}

func (leaving) signal(int)            {}
func (leaving) resize(uint16, uint16) {}

// findTask finds a task by its id or the beginning of it.
func (s *server) findTask(id string) (*task, error) {
	t, err := s.tasks.find(id)
	if t != nil || err != nil {
		return t, err
	}
	for _, sess := range s.sessions.all() {
		if e, listed := sess.describe(); listed && strings.HasPrefix(e.ID, id) && len(id) >= idref.Shortest {
			return nil, api.Errorf(api.KindInvalid, "cannot attach to session %s: it is not a command or shell, but of kind %s", e.ID, e.Kind)
		}
	}
	return nil, noSession(id)
}
