package agent

import (
	"context"

	"banger/api"
	"banger/internal/guest/stdio"
)

// do runs the session's job and sends its exit.
func (s *server) do(sess *session, open stdio.Open) {
	job := s.jobOf(sess, open)
	m := stdio.New(sess.pipe, stdio.Handler{Signal: job.signal, Resize: job.resize}, stdio.Stdin)
	sess.mu.Lock()
	sess.mux = m
	sess.mu.Unlock()
	read := make(chan struct{})
	go func() {
		defer close(read)
		_ = m.Run()
	}()
	exit := job.run(sess.ctx, m)
	_ = m.Exit(exit)
	s.work.Go(func() { <-read })
}

// jobOf returns the job of a session's first message.
func (s *server) jobOf(sess *session, open stdio.Open) job {
	switch {
	case open.Exec != nil && open.Exec.Main:
		return s.newMain(*open.Exec)
	case open.Exec != nil:
		return s.newExec(sess, *open.Exec)
	case open.Start != nil:
		return s.newStart(sess, *open.Start)
	case open.Attach != nil:
		return s.newAttach(sess, *open.Attach)
	case open.Leave != nil:
		return leaving{s, *open.Leave}
	case open.List != nil:
		return listing{s}
	case open.Put != nil:
		return s.newPut(*open.Put)
	case open.Get != nil:
		return s.newGet(*open.Get)
	case open.Stat != nil:
		return s.newStat(*open.Stat)
	case open.Connect != nil:
		return s.newConnect(sess, *open.Connect)
	case open.Listen != nil:
		return s.newListen(*open.Listen)
	case open.Accept != nil:
		return s.newAccept(sess, *open.Accept)
	case open.Ports != nil:
		return listPorts{}
	case open.CopyIn != nil:
		return s.newCopyIn(sess, *open.CopyIn)
	case open.CopyOut != nil:
		return s.newCopyOut(*open.CopyOut)
	case open.Tree != nil:
		return s.newTree(*open.Tree)
	case open.Fetch != nil:
		return s.newFetch(*open.Fetch)
	case open.Place != nil:
		return s.newPlace(*open.Place)
	case open.Watch != nil:
		return s.newWatch(*open.Watch)
	case open.SSH != nil:
		return s.newSSH(*open.SSH)
	default:
		return failing{api.Errorf(api.KindUnsupported, "the guest's agent does not know this kind of session")}
	}
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
