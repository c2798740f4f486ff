package vm

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"banger/api"
	"banger/internal/guest"
)

// TestDetachKeepsSessions stops a daemon under an open session, and waits for
// longer than the agent has mercy with a client that only vanished (5 s): the
// session goes on under the next daemon.
func TestDetachKeepsSessions(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	var current atomic.Pointer[Service]
	current.Store(w.Service)
	c := guest.Client{Dial: func(ctx context.Context) (net.Conn, error) {
		if s := current.Load(); s != nil {
			return s.DialGuest(ctx, "dev")
		}
		return nil, errors.New("no daemon runs")
	}}
	session, err := c.Exec(t.Context(), api.Exec{Argv: []string{"cat"}})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	lines := bufio.NewReader(session.Stdout)
	say := func(line string) {
		t.Helper()
		io.WriteString(session.Stdin, line)
		if got, err := lines.ReadString('\n'); err != nil || got != line {
			t.Fatalf("read %q, %v, want %q", got, err, line)
		}
	}
	say("one\n")
	current.Store(nil)
	w.Ops.Close()
	w.Detach()
	io.WriteString(session.Stdin, "two\n") // nobody is there to hear it yet
	time.Sleep(6 * time.Second)
	w.leave()
	w.enter()
	current.Store(w.Service)
	if got, err := lines.ReadString('\n'); err != nil || got != "two\n" {
		t.Fatalf("read %q, %v", got, err)
	}
	say("three\n")
	session.Stdin.Close()
	if exit, err := session.Wait(t.Context()); err != nil || exit.Code != 0 {
		t.Errorf("%+v, %v", exit, err)
	}
}

// TestDetachFromAGuestThatStandsStill: its channel is full, nothing written to it
// returns. Letting go of it must not wait for it.
func TestDetachFromAGuestThatStandsStill(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	w.mu.Lock()
	e, err := w.find("dev")
	w.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	p, ok := w.runOf(e).machine.(interface {
		Pause(context.Context) error
		Resume(context.Context) error
	})
	if !ok {
		t.Fatal("the fake does not pause")
	}
	var channels []net.Conn
	if err := p.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 8 { // 256 KiB may be under way in each, until even opening one waits
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		c, err := w.DialGuest(ctx, "dev")
		cancel()
		if err != nil {
			break
		}
		channels = append(channels, c)
		go c.Write(make([]byte, 1<<20))
	}
	if len(channels) == 0 {
		t.Fatal("no channel could be opened")
	}
	began := time.Now()
	w.Detach()
	for _, c := range channels {
		c.Close()
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("letting go took %v", took)
	}
	if err := p.Resume(t.Context()); err != nil {
		t.Error(err)
	}
}
