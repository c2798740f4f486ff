package guest_test

import (
	"sync"
	"testing"
	"time"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/guest/agent"
	"banger/internal/guest/agentproto"
)

// slowClock is a guest's clock that is off.
type slowClock struct {
	mu   sync.Mutex
	off  time.Duration
	own  bool
	asks int
}

func (c *slowClock) told(r agentproto.Request) agentproto.Clock {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asks++
	if !c.own {
		c.off += time.Duration(r.StepNS)
	}
	return agentproto.Clock{Time: time.Now().Add(c.off).UnixNano(), Own: c.own}
}

func (c *slowClock) set(off time.Duration, own bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off, c.own = off, own
}

func (c *slowClock) is() (time.Duration, int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.off, c.asks
}

// TestKeepTime: a clock that is off is right once the guest is used, at the start and
// after the guest stood still; one that the guest keeps itself is left alone.
func TestKeepTime(t *testing.T) {
	clock := &slowClock{off: -300 * time.Millisecond}
	link := connect(t, startAgent(t, agent.Options{Root: t.TempDir(), Clock: clock.told}))
	link.KeepTime()
	client := &guest.Client{Dial: link.Open}
	// What two processes on a busy machine can tell of each other's clocks.
	const near = 50 * time.Millisecond
	if off, _ := clock.is(); off.Abs() > near {
		t.Errorf("off by %s at the start", off)
	}
	for _, off := range []time.Duration{-25 * time.Second, time.Hour} {
		clock.set(off, false)
		until(t, func() bool {
			if _, err := client.Health(t.Context()); err != nil {
				t.Fatal(err)
			}
			got, _ := clock.is()
			return got.Abs() < near
		})
	}
	clock.set(time.Hour, true)
	_, before := clock.is()
	until(t, func() bool {
		if _, err := client.Health(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, after := clock.is()
		return after > before
	})
	if off, _ := clock.is(); off != time.Hour {
		t.Errorf("a clock of the guest's own was moved by %s", off-time.Hour)
	}
}

// until waits for what is to become true within some seconds.
func until(t *testing.T, is func() bool) {
	t.Helper()
	for end := time.Now().Add(8 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not become so")
		}
	}
}

// TestKeepTimeOfAnOlderAgent: one that knows nothing of it is asked once, and used as ever.
func TestKeepTimeOfAnOlderAgent(t *testing.T) {
	link := connect(t, startAgent(t, agent.Options{Root: t.TempDir()}))
	link.KeepTime()
	s, err := (&guest.Client{Dial: link.Open}).Exec(t.Context(), api.Exec{Argv: []string{"true"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, exit, err := result(t, s); exit.Code != 0 || err != nil {
		t.Errorf("%+v, %v", exit, err)
	}
}
