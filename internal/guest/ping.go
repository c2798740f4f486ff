package guest

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"time"

	"banger/api"
	"banger/internal/guest/agentproto"
)

// pingSize is the size of a ping in bytes, as ping(8) has it.
const pingSize = 56

// Ping sends some bytes to the agent on a new channel, waits until they are back, and returns how
// long that took. Opening the channel does not count.
func (c *Client) Ping(ctx context.Context) (time.Duration, error) {
	conn, err := c.Dial(ctx)
	if err != nil {
		return 0, err
	}
	type answer struct {
		took time.Duration
		err  error
	}
	done := make(chan answer, 1)
	go func() { // even Close may block, as in ask
		defer conn.Close()
		took, err := echo(conn)
		done <- answer{took, err}
	}()
	select {
	case a := <-done:
		return a.took, a.err
	case <-ctx.Done():
		go conn.Close()
		return 0, api.Errorf(contextKind(ctx), "the guest's agent did not answer: %w", context.Cause(ctx))
	}
}

// echo sends random bytes to the agent's echo and compares what comes back.
func echo(conn io.ReadWriter) (time.Duration, error) {
	sent := make([]byte, pingSize)
	rand.Read(sent) // never fails (crypto/rand)
	began := time.Now()
	if err := agentproto.WriteMessage(conn, agentproto.Request{Op: agentproto.OpEcho}); err != nil {
		return 0, api.Errorf(api.KindInternal, "cannot talk to the guest's agent: %w", err)
	}
	if _, err := conn.Write(sent); err != nil {
		return 0, api.Errorf(api.KindInternal, "cannot talk to the guest's agent: %w", err)
	}
	got := make([]byte, pingSize)
	if _, err := io.ReadFull(conn, got); err != nil {
		return 0, api.Errorf(api.KindInternal, "cannot talk to the guest's agent: %w", err)
	}
	took := time.Since(began)
	if !bytes.Equal(got, sent) {
		return 0, api.Errorf(api.KindInternal, "the guest's agent returned other bytes than it was sent")
	}
	return took, nil
}
