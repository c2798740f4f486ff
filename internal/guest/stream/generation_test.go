package stream

import (
	"errors"
	"io"
	"net"
	"testing"

	"banger/api"
)

// serving attaches the client to a server in a generation, and returns the end of both.
func serving(t *testing.T, client, server *Pipe, generation uint64) (cut func(), refused chan error, ended chan error) {
	t.Helper()
	here, there := net.Pipe()
	refused, ended = make(chan error, 1), make(chan error, 1)
	go func() { ended <- client.Attach(here, nil) }()
	go func() {
		wish, err := Accept(there)
		if err == nil {
			if err = wish.Within(generation); err != nil {
				err = errors.Join(err, wish.Refuse(err))
			} else {
				_ = wish.Serve(server)
			}
		}
		refused <- err
	}()
	return func() { here.Close(); there.Close() }, refused, ended
}

func send(t *testing.T, from, to *Pipe, text string) {
	t.Helper()
	if _, err := from.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(to, got); err != nil || string(got) != text {
		t.Fatalf("%q, %v", got, err)
	}
}

// TestOtherTimeline: the server is that of a guest that was taken back: it has all that the client has
// received and has written other bytes since, so that the offsets fit.
func TestOtherTimeline(t *testing.T) {
	client, then := New(NewID()), New(ID{})
	cut, _, ended := serving(t, client, then, 0)
	send(t, then, client, "begin, ")
	cut()
	<-ended
	// The same timeline continues.
	cut, _, ended = serving(t, client, then, 0)
	send(t, then, client, "first")
	cut()
	<-ended

	taken := New(ID{})
	taken.Write([]byte("begin, other and more"))
	_, refused, ended := serving(t, client, taken, 1)
	if err := <-refused; !errors.Is(err, ErrOtherTimeline) {
		t.Errorf("the agent joined it: %v", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got, err := io.ReadAll(client); len(got) > 0 || api.KindOf(err) != api.KindNotFound || err.Error() != ErrOtherTimeline.Error() {
		t.Errorf("%q, %v", got, err)
	}
	if err := taken.err; err != nil {
		t.Error("the other session was ended:", err)
	}
}

// TestOtherTimelineSeenByClient: an agent that does not look at what the client knows is left.
func TestOtherTimelineSeenByClient(t *testing.T) {
	client, then := New(NewID()), New(ID{})
	cut, _, ended := serving(t, client, then, 4)
	send(t, then, client, "begin, ")
	cut()
	<-ended
	taken := New(ID{})
	taken.Write([]byte("begin, other and more"))
	here, there := net.Pipe()
	go func() {
		wish, err := Accept(there)
		if err == nil {
			wish.generation = nil
			err = wish.Within(5)
		}
		if err == nil {
			_ = wish.Serve(taken)
		}
	}()
	if err := client.Attach(here, nil); err != nil {
		t.Error(err)
	}
	if got, err := io.ReadAll(client); len(got) > 0 || !errors.Is(err, ErrOtherTimeline) {
		t.Errorf("%q, %v", got, err)
	}
	if taken.err != nil {
		t.Error("the other session was ended:", taken.err)
	}
}

// TestOlderEnds: an agent without generations, and a client of it.
func TestOlderEnds(t *testing.T) {
	client, server := New(NewID()), New(ID{})
	stop := join(t, client, server) // serves without Within
	send(t, server, client, "text")
	send(t, client, server, "text")
	client.mu.Lock()
	if client.generation != nil {
		t.Error("a generation", *client.generation)
	}
	client.mu.Unlock()
	client.Close()
	server.Close()
	stop()
}
