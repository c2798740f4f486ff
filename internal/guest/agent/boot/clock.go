package bootup

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"banger/internal/guest/agentproto"
)

const (
	// beforeKernel is how long a VMM and its firmware may take, on a busy host, before
	// the kernel counts its uptime: the host waits no longer for a guest by default.
	beforeKernel = 2 * time.Minute
	// ownStep is a change of the clock that somebody else made: slewing changes it by half a
	// millisecond per second at most (adjtimex(2)), and the clock is checked every few seconds.
	ownStep = 100 * time.Millisecond
	// slack is how much a clock may be behind: less is the latency of the message.
	slack = 2 * time.Millisecond
	// sure is the time within which the two clocks must be read to be compared.
	sure = 100 * time.Microsecond
)

// clock is the guest's clock, which the host corrects: it is behind from the start, because the
// hardware's clock has whole seconds, and by all the time that the guest or the host is
// suspended. If a user or program in the guest sets the clock, it is not corrected any more.
type clock struct {
	now func() (wall, boot time.Duration) // since 1970, and since the start of the kernel
	set func(time.Duration) error

	mu   sync.Mutex
	base time.Duration // the last wall - boot
	own  bool
}

func newClock() *clock {
	c := &clock{now: readClocks, set: func(wall time.Duration) error {
		tv := unix.NsecToTimeval(int64(wall))
		return unix.Settimeofday(&tv)
	}}
	wall, boot := c.now()
	c.base = wall - boot
	return c
}

// adjust corrects the clock by the host's time, or by the host's offset, and returns the time.
func (c *clock) adjust(r agentproto.Request) agentproto.Clock {
	c.mu.Lock()
	defer c.mu.Unlock()
	wall, boot := c.now()
	if d := wall - boot - c.base; d.Abs() > ownStep && !c.own {
		c.own = true
		say("the clock was set in this guest: the host does not correct it until the next boot")
	}
	if right := wall + c.step(wall, boot, r); right != wall && !c.own {
		if err := c.set(right); err != nil {
			say("set the clock: %v", err)
		}
		wall, boot = c.now()
	}
	c.base = wall - boot
	return agentproto.Clock{Time: int64(wall), Own: c.own}
}

// restored is how far off the clock of a guest that was saved may be when its programs continue.
const restored = 100 * time.Millisecond

// restore sets the clock of a guest that was saved to the host's. The greeting is new, so the clock
// may be ahead, too: of a host whose own was set back.
func (c *clock) restore(host time.Duration) agentproto.Step {
	step := agentproto.Step{Name: agentproto.StepClock, State: agentproto.StepDone}
	got := c.adjust(agentproto.Request{Time: int64(host)})
	if off := host - time.Duration(got.Time); !got.Own && off.Abs() > restored {
		got = c.adjust(agentproto.Request{StepNS: int64(off)})
	}
	switch off := time.Duration(got.Time) - host; {
	case got.Own:
		step.State, step.Detail = agentproto.StepSkipped, "it was set in this guest"
	case off.Abs() > restored:
		step.State, step.Detail = agentproto.StepFailed, "it is off by "+off.String()
	}
	return step
}

// step returns the offset by which to move the clock. The host's message may have waited in the
// channel since before this guest booted: its time is a lower bound, and a clock that is ahead by
// no more than the message may have waited is more likely right.
func (c *clock) step(wall, boot time.Duration, r agentproto.Request) time.Duration {
	behind := time.Duration(r.Time) - wall
	switch {
	case r.StepNS != 0:
		return time.Duration(r.StepNS)
	case r.Time <= 0 || behind < slack && -behind <= boot+beforeKernel:
		return 0
	}
	return behind
}

// readClocks reads the wall clock and the time since the start of the kernel, times of
// suspension included, at one moment.
func readClocks() (wall, boot time.Duration) {
	best := time.Duration(1<<63 - 1)
	for range 20 {
		before, at, after := read(unix.CLOCK_BOOTTIME), read(unix.CLOCK_REALTIME), read(unix.CLOCK_BOOTTIME)
		if took := after - before; took < best {
			best, wall, boot = took, at, before+took/2
		}
		if best < sure {
			break
		}
	}
	return wall, boot
}

func read(id int32) time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(id, &ts) // fails only for clocks that do not exist (clock_gettime(2))
	return time.Duration(ts.Nano())
}
