package vm

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"banger/api"
	"banger/internal/driver"
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

// standStill pauses the VM's guest and fills its channel: nothing that is written
// to it returns any more.
func standStill(t *testing.T, w *world, ref string) (channels []net.Conn, resume func()) {
	t.Helper()
	e, err := w.table.Find(ref)
	if err != nil {
		t.Fatal(err)
	}
	p, ok := e.Run().Machine().(driver.Pauser)
	if !ok {
		t.Fatal("the fake does not pause")
	}
	if err := p.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 8 { // 256 KiB may be under way in each, until even opening one waits
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		c, err := w.DialGuest(ctx, ref)
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
	return channels, func() {
		if err := p.Resume(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// TestDetachFromAGuestThatStandsStill must not wait for it.
func TestDetachFromAGuestThatStandsStill(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	channels, resume := standStill(t, w, "dev")
	defer resume()
	var closing sync.WaitGroup
	for _, c := range channels {
		closing.Go(func() { c.Close() }) // may wait for the guest, as clients' channels do
	}
	began := time.Now()
	w.Detach()
	closing.Wait()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("letting go took %v", took)
	}
}

// TestStopOfAGuestThatStandsStill: it cannot even be asked, and is killed.
func TestStopOfAGuestThatStandsStill(t *testing.T) {
	for _, opened := range []bool{true, false} { // whether a channel can be opened still
		w := newWorld(t)
		w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
		if opened {
			e, err := w.table.Find("dev")
			if err != nil {
				t.Fatal(err)
			}
			if err := e.Run().Machine().(driver.Pauser).Pause(t.Context()); err != nil {
				t.Fatal(err)
			}
		} else {
			standStill(t, w, "dev")
		}
		began := time.Now()
		w.must(w.Stop(t.Context(), "dev", api.StopVM{GraceSeconds: 1}))
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("stopping took %v", took)
		}
		if v := w.show("dev"); v.State != api.StateStopped || !strings.Contains(v.Reason, "killed") {
			t.Errorf("%+v", v)
		}
	}
}
