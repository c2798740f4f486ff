package bootup

import (
	"errors"
	"testing"
	"time"

	"banger/internal/guest/agentproto"
)

// host is when the host greets.
const host = 1_700_000_000 * time.Second

// testClock is a clock that is ahead of the host's, in a guest that has been up for boot.
func testClock(ahead, boot time.Duration) (c *clock, wall *time.Duration) {
	at := host + ahead
	c = &clock{set: func(to time.Duration) error { at = to; return nil }}
	c.now = func() (time.Duration, time.Duration) { return at, boot }
	c.base = at - boot
	return c, &at
}

func TestClockIsSet(t *testing.T) {
	for _, c := range []struct {
		name        string
		ahead, boot time.Duration
		want        time.Duration // how far ahead it is afterwards
	}{
		{"right", 0, time.Hour, 0},
		{"as it was when the guest was paused", -time.Minute, time.Hour, 0},
		{"the hardware's clock has whole seconds", -300 * time.Millisecond, time.Second, 0},
		{"less than the message took", -time.Millisecond, time.Second, -time.Millisecond},
		{"no clock at all", -host, time.Second, 0},
		{"the greeting waited while the guest booted", 3 * time.Second, 2500 * time.Millisecond, 3 * time.Second},
		{"it waited longer than the kernel knows", 9 * time.Second, time.Second, 9 * time.Second},
		{"ahead by more than it can have waited", time.Hour, time.Minute, 0},
	} {
		k, wall := testClock(c.ahead, c.boot)
		got := k.adjust(agentproto.Request{Time: int64(host)})
		if *wall-host != c.want || got.Time != int64(*wall) || got.Own {
			t.Errorf("%s: ahead by %s, said %+v", c.name, *wall-host, got)
		}
	}
}

// TestClockIsMoved: what the host measured to and fro counts both ways, again and again.
func TestClockIsMoved(t *testing.T) {
	k, wall := testClock(0, time.Hour)
	for _, step := range []time.Duration{-5 * time.Millisecond, 7 * time.Millisecond, time.Hour} {
		before := *wall
		if got := k.adjust(agentproto.Request{StepNS: int64(step)}); got.Own || *wall-before != step {
			t.Errorf("%s: %+v, moved by %s", step, got, *wall-before)
		}
	}
}

// TestOwnClockIsLeftAlone: who sets the clock in the guest keeps it; a clock that is slewed,
// as for a leap second, is still ours.
func TestOwnClockIsLeftAlone(t *testing.T) {
	k, wall := testClock(0, time.Hour)
	*wall += 10 * time.Millisecond
	if got := k.adjust(agentproto.Request{Time: int64(host)}); got.Own {
		t.Error("slewing was taken for setting")
	}
	*wall += 24 * time.Hour
	want := *wall
	for _, r := range []agentproto.Request{{Time: int64(host)}, {StepNS: -1}, {Time: int64(2 * host)}} {
		if got := k.adjust(r); !got.Own || *wall != want {
			t.Errorf("%+v: %+v, it was moved by %s", r, got, *wall-want)
		}
	}
}

// TestClocksAreReadTogether: two readings differ by the time between them, not by more.
func TestClocksAreReadTogether(t *testing.T) {
	wall, boot := readClocks()
	wall2, boot2 := readClocks()
	if d := (wall2 - boot2) - (wall - boot); d.Abs() > ownStep || boot2 <= boot {
		t.Errorf("%s and %s apart", wall2-wall, boot2-boot)
	}
}

// TestClockIsRestored: in a guest that was saved the clock may be anything, unless it is the guest's.
func TestClockIsRestored(t *testing.T) {
	for _, c := range []struct {
		ahead, want time.Duration
	}{{-240 * time.Hour, 0}, {-50 * time.Millisecond, 0}, {90 * time.Millisecond, 90 * time.Millisecond}, {3 * time.Second, 0}, {time.Hour, 0}} {
		k, wall := testClock(c.ahead, time.Second)
		if got := k.restore(host); got.State != agentproto.StepDone || *wall-host != c.want {
			t.Errorf("from %v: ahead by %v, %+v", c.ahead, *wall-host, got)
		}
	}
	k, wall := testClock(-time.Hour, time.Second)
	k.own = true
	if got := k.restore(host); got.State != agentproto.StepSkipped || *wall != host-time.Hour {
		t.Errorf("the guest's own: %v, %+v", *wall-host, got)
	}
	k, _ = testClock(-time.Hour, time.Second)
	k.set = func(time.Duration) error { return errors.New("no") }
	if got := k.restore(host); got.State != agentproto.StepFailed {
		t.Errorf("a clock that cannot be set: %+v", got)
	}
}
