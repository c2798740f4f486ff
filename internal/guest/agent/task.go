package agent

import (
	"context"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"banger/api"
	"banger/internal/guest/agent/process"
	"banger/internal/guest/stdio"
	"banger/internal/size"
)

// readGrace is how long a client may take to read what was sent to it before another client takes
// its command over.
const readGrace = 500 * time.Millisecond

// task is a command and its streams. It does not belong to a session: its client may change, or be
// absent.
type task struct {
	tasks   *tasks // it belongs to these
	id      string
	exec    api.Exec
	command *process.Command
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

	// guarded by tasks.mu
	client *client
	kept   bool // it continues without a client
}

// client is a session at the other end of a task.
type client struct {
	sess *session
	mux  *stdio.Mux
	left chan struct{} // closed when the client has lost the task
	why  error
	told bool // the exit status is being sent to it; guarded by tasks.mu
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

// launch starts the command.
func (t *task) launch() {
	context.AfterFunc(t.ctx, func() {
		t.out.shut()
		t.err.shut()
	})
	t.tasks.work.Go(t.out.pump)
	t.tasks.work.Go(t.err.pump)
	t.tasks.work.Go(func() {
		t.exit = exitOf(t.command.Run(t.ctx, process.Streams{In: t.in, Out: t.out, Err: t.err}))
		_ = t.out.Close()
		_ = t.err.Close()
		_ = t.in.Close()
		close(t.done)
	})
}

// exitOf says to a client how a program ended, or why it did not run.
func exitOf(exit process.Exit, err error) stdio.Exit {
	if err != nil {
		return stdio.Exit{Error: api.AsError(err)}
	}
	return stdio.Exit{Code: exit.Code, Signal: int(exit.Signal)}
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
	s := t.tasks
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
	s := t.tasks
	s.mu.Lock()
	there, old := s.byID[t.id] == t, t.client
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
		if t.exec.TTY {
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
	s := t.tasks
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
	t.tasks.mu.Lock()
	defer t.tasks.mu.Unlock()
	if t.tasks.byID[t.id] == t {
		delete(t.tasks.byID, t.id)
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
	s := t.tasks
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID[t.id] != t {
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
