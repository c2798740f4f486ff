package daemon

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"banger/api"
	"banger/client"
	"banger/internal/guest"
	"banger/internal/guest/budget"
)

// TestPlaces: connections leave places for commands, and what ends gives its own back.
func TestPlaces(t *testing.T) {
	p := places{room: budget.Daemon{Streams: 3, Connections: 2}}
	enter := func(connection bool, refusal string) {
		t.Helper()
		err := p.enter(connection)
		if refusal == "" && err != nil || refusal != "" && (api.KindOf(err) != api.KindTimeout || !strings.Contains(err.Error(), refusal)) {
			t.Errorf("%v, want %q", err, refusal)
		}
	}
	enter(true, "")
	enter(true, "")
	enter(true, "2 connections")
	enter(false, "")
	enter(false, "3 streams")
	enter(true, "3 streams")
	p.leave(true)
	enter(true, "")
	p.leave(false)
	enter(true, "2 connections")
	enter(false, "")
}

// TestConnectionsLeavePlaces: a client's word that a stream is for a connection counts, and an
// end gives the place back.
func TestConnectionsLeavePlaces(t *testing.T) {
	r := newRigIn(t, func(e Env) Env { e.Memory = 1; return e }, func(p Program) Program { return p })
	room := budget.OfDaemon(1)
	c := client.New(r.env.Paths).WithoutStart()
	connection := guest.ForConnection(t.Context())
	dial := func(ctx context.Context) (net.Conn, error) {
		r.guestEnd()
		conn, err := c.DialGuest(ctx, "fox")
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
