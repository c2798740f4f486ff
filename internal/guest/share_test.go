package guest_test

import (
	"context"
	"net"
	"testing"
	"time"

	"banger/internal/guest"
	"banger/internal/guest/agentproto"
)

// TestOpeningsForCommands: connections that wait for a guest which does not take them leave
// room for a command's channel to be opened.
func TestOpeningsForCommands(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	greeted := make(chan error, 1)
	go func() { // greets, and then reads nothing
		_, _, err := agentproto.NewListener(there, "b", "test").Accept()
		greeted <- err
	}()
	link, err := guest.Connect(t.Context(), here, "test")
	if err != nil || <-greeted != nil {
		t.Fatal(err)
	}
	defer link.Close()
	for range 200 {
		ctx, cancel := context.WithCancel(guest.ForConnection(t.Context()))
		defer cancel()
		go func() { _, _ = link.Open(ctx) }()
	}
	time.Sleep(300 * time.Millisecond)
	if n := link.Opening(); n != guest.MaxConnecting {
		t.Errorf("%d openings are taken by connections, want %d", n, guest.MaxConnecting)
	}
}
