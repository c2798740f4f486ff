package daemon

import (
	"context"
	"net"
	"testing"
	"time"

	"banger/api"
	"banger/client"
	"banger/internal/guest"
	"banger/internal/guest/budget"
)

// TestConnectionsLeavePlaces: a client's word that a stream is for a connection counts, and an
// end gives the place back.
func TestConnectionsLeavePlaces(t *testing.T) {
	r := newRigIn(t, func(e Env) Env { e.Memory = 1; return e }, func(p Program) Program { return p })
	room := budget.OfDaemon(1)
	c := client.New(r.env.Paths.Socket())
	connection := guest.ForConnection(t.Context())
	dial := func(ctx context.Context) (net.Conn, error) {
		r.guestEnd()
		conn, err := c.Guest("fox").Dial(ctx)
		if err == nil {
			t.Cleanup(func() { conn.Close() })
		}
		return conn, err
	}
	first, err := dial(connection)
	for i := 1; i < room.Connections && err == nil; i++ {
		_, err = dial(connection)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dial(connection); api.KindOf(err) != api.KindTimeout {
		t.Errorf("one too many: %v", err)
	}
	if _, err := dial(t.Context()); err != nil {
		t.Errorf("a command beside them: %v", err)
	}
	first.Close()
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if _, err := dial(connection); err == nil {
			return
		}
		if time.Since(began) > soon {
			t.Fatal("the place is not given back")
		}
	}
}
