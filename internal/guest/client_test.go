package guest_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"banger/api"
	"banger/internal/guest"
)

// stuck is a channel whose link is full: writing and closing wait for the guest.
type stuck struct {
	net.Conn
	freed chan struct{}
	ended chan struct{}
}

func (c stuck) Write([]byte) (int, error) { <-c.freed; return 0, io.ErrClosedPipe }
func (c stuck) Read([]byte) (int, error)  { <-c.freed; return 0, io.EOF }
func (c stuck) Close() error {
	<-c.freed
	select {
	case c.ended <- struct{}{}:
	default:
	}
	return nil
}

// TestAskingAGuestThatStandsStill ends with its context, not with the guest.
func TestAskingAGuestThatStandsStill(t *testing.T) {
	c := stuck{freed: make(chan struct{}), ended: make(chan struct{}, 2)}
	client := guest.Client{Dial: func(context.Context) (net.Conn, error) { return c, nil }}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := client.Shutdown(ctx); api.KindOf(err) != api.KindTimeout {
		t.Errorf("%v", err)
	}
	close(c.freed) // as when the link is closed
	<-c.ended
}
