package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"go.uber.org/goleak"

	"banger/internal/guest/agentproto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// line feeds serveLatest by hand.
type line chan agentproto.Conn

var errCut = errors.New("cut")

func (l line) accept() (agentproto.Conn, error) {
	if conn, ok := <-l; ok {
		return conn, nil
	}
	return nil, errCut
}

// dial gives the host's end of a new connection.
func (l line) dial() net.Conn {
	host, guest := net.Pipe()
	l <- guest
	return host
}

// ended proves that the other end was closed.
func ended(t *testing.T, host net.Conn) {
	t.Helper()
	if _, err := host.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("read: %v, want the end", err)
	}
}

func TestNewestConnectionWins(t *testing.T) {
	l := make(line)
	n := serveLatest(l.accept)
	stale := l.dial()
	taken, err := n.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	overtaken := l.dial()
	ended(t, stale)
	if _, err := taken.Write([]byte("x")); err == nil {
		t.Error("the stale connection still takes bytes")
	}
	fresh := l.dial()
	ended(t, overtaken) // it was never taken
	conn, err := n.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	go conn.Write([]byte("y"))
	if b := make([]byte, 1); func() bool { _, err := fresh.Read(b); return err != nil || b[0] != 'y' }() {
		t.Errorf("the newest connection said %q", b)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := n.Accept(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	close(l)
	ended(t, fresh)
	if _, err := n.Accept(t.Context()); !errors.Is(err, errCut) {
		t.Errorf("after the end: %v", err)
	}
}
