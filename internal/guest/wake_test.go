package guest_test

import (
	"bufio"
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/guest/agent"
)

// vm is a VM that can be suspended, as the daemon lets clients dial it.
type vm struct {
	path string // of its agent

	mu        sync.Mutex
	link      *guest.Link
	suspended bool
	refused   int
	woken     int
}

func (v *vm) dial(t *testing.T) guest.Dial {
	return func(ctx context.Context) (net.Conn, error) {
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.suspended && !guest.IsWaking(ctx) {
			v.refused++
			return nil, api.Errorf(api.KindSuspended, "it is suspended")
		}
		if v.suspended {
			v.suspended = false
			v.woken++
		}
		if v.link == nil {
			v.link = connect(t, v.path)
		}
		return v.link.Open(ctx)
	}
}

func (v *vm) suspend() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.link.Close()
	v.link, v.suspended = nil, true
}

func (v *vm) counts() (refused, woken int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.refused, v.woken
}

// TestInputWakes: a session waits for a suspended VM beyond its patience, and wakes it with its next input.
func TestInputWakes(t *testing.T) {
	v := &vm{path: startAgent(t, agent.Options{Root: t.TempDir()})}
	c := &guest.Client{Patience: 200 * time.Millisecond, Dial: v.dial(t)}
	session, err := c.Exec(t.Context(), api.Exec{Argv: []string{"cat"}})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	out := bufio.NewReader(session.Stdout)
	say := func(line string) {
		t.Helper()
		if _, err := session.Stdin.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
		if got, err := out.ReadString('\n'); got != line {
			t.Fatalf("%q, %v", got, err)
		}
	}
	say("first\n")
	for i, line := range []string{"second\n", "third\n"} {
		v.suspend()
		end := time.Now().Add(20 * time.Second)
		before, _ := v.counts()
		for refused := before; refused < before+6; refused, _ = v.counts() { // the pauses between them grow beyond the patience
			if time.Now().After(end) {
				t.Fatalf("%d dials", refused-before)
			}
			time.Sleep(time.Millisecond)
		}
		if _, woken := v.counts(); woken != i {
			t.Fatalf("the session has woken it %d times", woken)
		}
		say(line)
		if _, woken := v.counts(); woken != i+1 {
			t.Fatalf("woken %d times", woken)
		}
	}
	// A new session wakes it at once.
	v.suspend()
	other, err := c.Exec(t.Context(), api.Exec{Argv: []string{"true"}})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if exit, err := other.Wait(t.Context()); err != nil || exit.Code != 0 {
		t.Errorf("%+v, %v", exit, err)
	}
}
