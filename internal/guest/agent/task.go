package agent

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"time"

	"banger/api"
	"banger/internal/guest/agentproto"
	"banger/internal/guest/stdio"
	"banger/internal/idref"
	"banger/internal/size"
)

const (
	// maxKept is how many commands may run without a client, including ended ones with unread
	// output.
	maxKept = 64
	// readGrace is how long a client may take to read what was sent to it before another client
	// takes its command over.
	readGrace = 500 * time.Millisecond
)

// task is a command and its streams. It does not belong to a session: its client may change, or be
// absent.
type task struct {
	server  *server
	id      string
	command *command
	in      *stdinSwitch
	out     *outputBuffer
	err     *outputBuffer
	began   time.Time

	ctx     context.Context // ends when the command has to end
	hangUp  context.CancelCauseFunc
	started chan struct{} // closed once it runs
	done    chan struct{} // closed once it has ended, or could not start
	exit    stdio.Exit    // from then on

	moving sync.Mutex // held while the client changes

	// guarded by server.mu
	client *client
	kept   bool // it continues without a client
}

// client is a session at the other end of a task.
type client struct {
	sess *session
	mux  *stdio.Mux
	left chan struct{} // closed when the client has lost the task
	why  error
	told bool // the exit status is being sent to it; guarded by server.mu
}

// id returns the whole id of the client's session.
func (c *client) id() string {
	id := c.sess.pipe.ID()
	return hex.EncodeToString(id[:])
}

// hasAll reports whether the client has received everything: output and status.
func (c *client) hasAll() bool {
	select {
	case <-c.sess.pipe.Flushed():
		return c.told
	default:
		return false
	}
}

// newTask creates a task with the id of a session.
func (s *server) newTask(sess *session, exec api.Exec, kept bool) (*task, error) {
	t := &task{
		server: s, command: s.newCommand(exec), in: newStdinSwitch(), out: newOutputBuffer(), err: newOutputBuffer(), began: time.Now(),
		started: make(chan struct{}), done: make(chan struct{}), kept: kept,
	}
	t.command.onStart = func() { close(t.started) }
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
		if t.id = hex.EncodeToString(id[:n]); s.tasks[t.id] == nil {
			break
		}
	}
	s.tasks[t.id] = t
	return t, nil
}

// launch starts the command.
func (t *task) launch() {
	context.AfterFunc(t.ctx, func() {
		t.out.shut()
		t.err.shut()
	})
	t.server.work.Go(t.out.pump)
	t.server.work.Go(t.err.pump)
	t.server.work.Go(func() {
		t.exit = t.command.runOn(t.ctx, streams{t.in, t.out, t.err})
		_ = t.out.Close()
		_ = t.err.Close()
		_ = t.in.Close()
		close(t.done)
	})
}

// serve connects a session to the task as its client, until one of them ends.
func (t *task) serve(sess *session, m *stdio.Mux) stdio.Exit {
	c := &client{sess: sess, mux: m, left: make(chan struct{})}
	flushed, err := t.take(c)
	if err != nil {
		return stdio.Exit{Error: api.AsError(err)}
	}
	for _, over := range append(flushed, t.done) {
		select {
		case <-over:
		case <-c.left:
			return stdio.Exit{Error: api.AsError(c.why)}
		case <-sess.ctx.Done():
			t.clientGone(c)
			return stdio.Exit{Error: api.AsError(context.Cause(sess.ctx))}
		}
	}
	return t.end(c)
}

// end returns how the command ended, for a client that has received its output. A kept task is
// removed only once the client has also received the status.
func (t *task) end(c *client) stdio.Exit {
	t.moving.Lock()
	defer t.moving.Unlock()
	s := t.server
	s.mu.Lock()
	ours, kept := t.client == c, t.kept
	c.told = ours
	s.mu.Unlock()
	switch {
	case !ours: // taken over while its last output was being sent
		return stdio.Exit{Error: api.AsError(c.why)}
	case kept:
		s.work.Go(func() {
			select {
			case <-c.sess.pipe.Flushed():
			case <-c.sess.ctx.Done():
			}
			t.clientGone(c)
		})
	default:
		t.drop()
	}
	return t.exit
}

// take makes c the client instead of an earlier one.
func (t *task) take(c *client) ([]<-chan struct{}, error) {
	t.moving.Lock()
	defer t.moving.Unlock()
	s := t.server
	s.mu.Lock()
	there, old := s.tasks[t.id] == t, t.client
	s.mu.Unlock()
	if !there {
		return nil, noSession(t.id)
	}
	if old != nil {
		old.why = api.Errorf(api.KindConflict, "session %s was taken over by another client", t.id)
		t.release(old, readGrace, true)
	}
	s.mu.Lock()
	t.client = c
	kept := t.kept
	s.mu.Unlock()
	if lost := t.out.lost() + t.err.lost(); lost > 0 {
		end := "\n"
		if t.command.exec.TTY {
			end = "\r\n"
		}
		t.err.prependMessage(fmt.Sprintf("banger: %s of earlier output are gone: the newest %s are kept while nobody is attached%s",
			size.Format(lost), size.Format(bufferKept), end))
	}
	t.in.attach(c.mux.In(stdio.Stdin))
	return []<-chan struct{}{t.out.attach(c.mux.Out(stdio.Stdout), kept), t.err.attach(c.mux.Out(stdio.Stderr), kept)}, nil
}

// release removes a client from the task, which another may follow. A client that does not read is
// cut off.
func (t *task) release(c *client, grace time.Duration, next bool) {
	cut := func() { c.sess.pipe.Reset(c.why) }
	t.in.release(c.mux.In(stdio.Stdin))
	t.out.release(c.mux.Out(stdio.Stdout), grace, next, cut)
	t.err.release(c.mux.Out(stdio.Stderr), grace, next, cut)
	close(c.left)
}

// clientGone handles a client that will not return: a detached command keeps running, any other gets
// SIGHUP. Unread output of an ended command stays for the next client.
func (t *task) clientGone(c *client) {
	t.moving.Lock()
	defer t.moving.Unlock()
	s := t.server
	s.mu.Lock()
	ours, keep := t.client == c, t.kept && !c.hasAll()
	if ours {
		t.client = nil
	}
	s.mu.Unlock()
	if !ours {
		return
	}
	if keep {
		c.why = errGone
		t.release(c, 0, false)
		return
	}
	t.drop()
}

// drop ends the task and removes it.
func (t *task) drop() {
	t.hangUp(errGone)
	t.server.mu.Lock()
	defer t.server.mu.Unlock()
	if t.server.tasks[t.id] == t {
		delete(t.server.tasks, t.id)
	}
}

func (t *task) ended() bool {
	select {
	case <-t.done:
		return true
	default:
		return false
	}
}

// roomToKeep makes room for one more kept task: it removes the oldest that has ended, if necessary.
func (s *server) roomToKeep() error {
	kept, oldest := 0, (*task)(nil)
	for _, t := range s.tasks {
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
	delete(s.tasks, oldest.id)
	return nil
}

func noSession(id string) *api.Error {
	return api.Errorf(api.KindNotFound, "no session %.40q in this guest", id).WithHint(agentproto.HintSessions)
}

// findTask finds a task by its id or the beginning of it.
func (s *server) findTask(id string) (*task, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var tasks []*task
	var ids []string
	for _, t := range s.tasks {
		if t.id == id {
			return t, nil
		}
		tasks, ids = append(tasks, t), append(ids, t.id)
	}
	at, err := idref.Find("sessions", id, ids, func(i int) string { return ids[i] })
	if err != nil {
		return nil, err
	}
	if at >= 0 {
		return tasks[at], nil
	}
	for _, sess := range s.sessions {
		if e, listed := sess.describe(); listed && strings.HasPrefix(e.ID, id) && len(id) >= idref.Shortest {
			return nil, api.Errorf(api.KindInvalid, "cannot attach to session %s: it is not a command or shell, but of kind %s", e.ID, e.Kind)
		}
	}
	return nil, noSession(id)
}

// attending is a job that connects a client to its command.
type attending struct {
	sess   *session
	task   *task
	launch bool
	attach *stdio.Attach
}

func (s *server) newExec(sess *session, exec api.Exec) job {
	t, err := s.newTask(sess, exec, false)
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
		a.task.command.redraw(a.attach.Rows, a.attach.Cols)
	}
	return a.task.serve(a.sess, m)
}

func (a attending) signal(number int)        { a.task.command.signal(number) }
func (a attending) resize(rows, cols uint16) { a.task.command.resize(rows, cols) }

// starting is a job that starts a command which continues without a client.
type starting struct {
	attending
}

func (s *server) newStart(sess *session, exec api.Exec) job {
	t, err := s.newTask(sess, exec, true)
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
	s := t.server
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

// leave makes the task continue without a client, and removes the client with that id: only while that
// client still reads can its position be known.
func (t *task) leave(id string) error {
	t.moving.Lock()
	defer t.moving.Unlock()
	c, err := t.keep(id)
	if err != nil || c == nil {
		return err
	}
	c.why = api.Errorf(api.KindCanceled, "session %s was detached, and keeps running", t.id)
	t.release(c, readGrace, false)
	return nil
}

// keep marks the task as one that continues without a client. It removes and returns the client with
// the id, or nil if the task has another client.
func (t *task) keep(id string) (*client, error) {
	s := t.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tasks[t.id] != t {
		return nil, noSession(t.id)
	}
	if !t.kept {
		if err := s.roomToKeep(); err != nil {
			return nil, err
		}
		t.kept = true
	}
	c := t.client
	if c == nil || c.id() != id {
		return nil, nil
	}
	t.client = nil
	return c, nil
}

func (leaving) signal(int)            {}
func (leaving) resize(uint16, uint16) {}
