package guest

import (
	"cmp"
	"context"
	"errors"
	"time"

	"banger/api"
	"banger/internal/guest/agentproto"
	"banger/internal/guest/stream"
)

const (
	defaultPatience = time.Minute
	firstPause      = 10 * time.Millisecond
	longestPause    = time.Second
)

// unresponsiveAfter is how long a guest may take to answer on a busy machine.
const unresponsiveAfter = 4 * time.Second

// keepAttached attaches the pipe to one channel after another until the pipe is over. first
// is an open channel, and input receives when the user has sent something.
func (c *Client) keepAttached(ctx context.Context, pipe *stream.Pipe, first stream.Conn, input <-chan struct{}) {
	stop := context.AfterFunc(ctx, func() {
		pipe.Reset(api.Errorf(contextKind(ctx), "the session was cancelled: %w", context.Cause(ctx)))
	})
	defer stop()
	unanswered := time.AfterFunc(cmp.Or(c.Answer, AnswerTime), func() {
		if !pipe.Met() {
			pipe.Reset(Unanswered(c.vm()))
		}
	})
	defer unanswered.Stop()
	deadline := time.Time{}
	met := func() { deadline = time.Time{} }
	for conn, pause := first, firstPause; ; {
		err := attach(pipe, conn, met)
		if err == nil {
			return
		}
		select {
		case <-input: // before it broke
		default:
		}
		if deadline.IsZero() {
			deadline = time.Now().Add(cmp.Or(c.Patience, defaultPatience))
			pause = firstPause
		}
		if conn, err = c.redial(ctx, pipe, input, &deadline, &pause, err); err != nil {
			pipe.Reset(err)
			return
		}
	}
}

// warnUnresponsive calls Unresponsive if the guest has not answered on pipe for some seconds. The
// returned function cancels that.
func (c *Client) warnUnresponsive(pipe *stream.Pipe) (stop func() bool) {
	if c.Unresponsive == nil {
		return func() bool { return true }
	}
	return time.AfterFunc(unresponsiveAfter, func() {
		select {
		case <-pipe.Done():
		default:
			if !pipe.Met() {
				c.Unresponsive(c.vm())
			}
		}
	}).Stop
}

// attach uses one channel until it breaks; it returns nil if the pipe is over.
func attach(pipe *stream.Pipe, conn stream.Conn, met func()) error {
	if err := agentproto.WriteMessage(conn, agentproto.Request{Op: agentproto.OpStream}); err != nil {
		conn.Close()
		return err
	}
	return pipe.Attach(conn, met)
}

// redial opens a new channel, with growing pauses between the tries. cause is the reason. As long as
// the VM is suspended the deadline does not come nearer: the session continues when the VM does, or
// at the user's next input, which wakes the VM.
func (c *Client) redial(ctx context.Context, pipe *stream.Pipe, input <-chan struct{}, deadline *time.Time, pause *time.Duration, cause error) (stream.Conn, error) {
	for {
		timer := time.NewTimer(*pause)
		select {
		case <-timer.C:
		case <-input:
			timer.Stop()
			ctx = Waking(ctx)
		case <-pipe.Done():
			timer.Stop()
			return nil, stream.ErrClosed
		}
		*pause = min(2**pause, longestPause)
		if api.KindOf(cause) == api.KindSuspended {
			*deadline = time.Now().Add(cmp.Or(c.Patience, defaultPatience))
		}
		if time.Now().After(*deadline) {
			return nil, api.Errorf(api.KindTimeout, "the connection to the guest broke and could not be restored: %w", cause)
		}
		dialCtx, cancel := context.WithDeadline(ctx, *deadline)
		conn, err := c.Dial(dialCtx)
		cancel()
		if err == nil {
			return conn, nil
		}
		if permanent(err) {
			return nil, err
		}
		cause = err
	}
}

// Unreached marks an error of a connection to the daemon, which says nothing about the VM:
// whatever its kind, dialling again may help.
func Unreached(err error) error {
	if err == nil {
		return nil
	}
	return &unreachedError{err}
}

type unreachedError struct{ error }

func (e *unreachedError) Unwrap() error { return e.error }

// permanent reports whether dialling again cannot help: the VM is stopped or deleted.
func permanent(err error) bool {
	var e *api.Error
	if !errors.As(err, &e) || errors.As(err, new(*unreachedError)) {
		return false
	}
	switch e.Kind {
	case api.KindNotFound, api.KindConflict, api.KindInvalid, api.KindDenied, api.KindUnsupported:
		return true
	}
	return false
}
