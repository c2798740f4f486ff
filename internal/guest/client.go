package guest

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"banger/api"
	"banger/internal/guest/agentproto"
	"banger/internal/guest/forward"
)

// Dial opens a channel to the agent: Link.Open, or a request to the daemon that
// relays one.
type Dial func(ctx context.Context) (net.Conn, error)

// Client talks to the agent of one VM.
type Client struct {
	Dial Dial
	// VM returns the VM's name for errors; nil: none. It is called after a Dial.
	VM func() string
	// Patience is how long a session tries to get a new channel after its channel broke; 0
	// means a minute.
	Patience time.Duration
	// Crowd limits the connections of Forward together with those of other calls; nil: as
	// many as a process may have.
	Crowd *forward.Crowd
	// Complete adds the image's configuration to a command. It is called after the first
	// Dial; nil adds nothing.
	Complete func(api.Exec) api.Exec
	// Unresponsive is called once for a session that the guest has not answered for some seconds,
	// and that continues to wait; nil: no call.
	Unresponsive func(vm string)
	// Answer bounds the wait of a session for the guest's first answer; 0: AnswerTime.
	Answer time.Duration
}

// AnswerTime bounds the wait for a guest that does not answer: it may be booting, or very
// busy.
const AnswerTime = time.Minute

// Unanswered returns the error for a guest that did not answer any request within
// AnswerTime.
func Unanswered(vm string) *api.Error {
	if vm == "" {
		return api.Errorf(api.KindTimeout, "the guest does not answer")
	}
	return api.Errorf(api.KindTimeout, "the guest of VM %s does not answer", vm).
		WithHint("banger vm show %s, banger vm logs %s   show its state\nbanger vm restart %s   ends what runs in it", vm, vm, vm)
}

func (c *Client) vm() string {
	if c.VM == nil {
		return ""
	}
	return c.VM()
}

// Health requests the guest's health from the agent.
func (c *Client) Health(ctx context.Context) (agentproto.Health, error) {
	answer, err := c.ask(ctx, agentproto.Request{Op: agentproto.OpHealth})
	if err != nil {
		return agentproto.Health{}, err
	}
	if answer.Health == nil {
		return agentproto.Health{}, api.Errorf(api.KindInternal, "the guest's agent answered without its health")
	}
	return *answer.Health, nil
}

// GrowDisk asks the agent to grow the file system of the root disk to that many bytes, and returns when
// it has. An agent of an older banger is an error of kind unsupported.
func (c *Client) GrowDisk(ctx context.Context, bytes int64) error {
	_, err := c.ask(ctx, agentproto.Request{Op: agentproto.OpGrow, DiskBytes: bytes})
	return err
}

// Shutdown asks the agent to shut the guest down by the deadline of ctx, and returns when
// the agent has agreed.
func (c *Client) Shutdown(ctx context.Context) error { return c.end(ctx, false) }

// Reboot asks the agent to reboot the guest.
func (c *Client) Reboot(ctx context.Context) error { return c.end(ctx, true) }

func (c *Client) end(ctx context.Context, reboot bool) error {
	req := agentproto.Request{Op: agentproto.OpShutdown, Reboot: reboot}
	if deadline, ok := ctx.Deadline(); ok {
		req.GraceMS = max(1, time.Until(deadline).Milliseconds())
	}
	_, err := c.ask(ctx, req)
	return err
}

// ask makes a one-shot request.
func (c *Client) ask(ctx context.Context, req agentproto.Request) (agentproto.Response, error) {
	var answer agentproto.Response
	conn, err := c.Dial(ctx)
	if err != nil {
		return answer, err
	}
	// Even Close of a channel to a guest that hangs may block until the guest's link is
	// closed.
	done := make(chan error, 1)
	go func() {
		defer conn.Close()
		err := agentproto.WriteMessage(conn, req)
		if err == nil {
			err = agentproto.ReadMessage(conn, &answer)
		}
		done <- err
	}()
	select {
	case err = <-done:
	case <-ctx.Done():
		go conn.Close()
		return agentproto.Response{}, api.Errorf(contextKind(ctx), "the guest's agent did not answer: %w", context.Cause(ctx))
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return answer, api.Errorf(contextKind(ctx), "the guest's agent did not answer: %w", context.Cause(ctx))
	case err != nil:
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return answer, api.Errorf(api.KindInternal, "cannot talk to the guest's agent: %w", err)
	case answer.Error != nil:
		return answer, sanitize(answer.Error)
	}
	return answer, nil
}

func contextKind(ctx context.Context) api.Kind {
	if ctx.Err() == context.DeadlineExceeded {
		return api.KindTimeout
	}
	return api.KindCanceled
}
