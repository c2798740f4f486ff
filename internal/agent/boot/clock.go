package bootup

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"banger/internal/agentproto"
)

const (
	// beforeKernel is how long a VMM and its firmware may take, on a busy host, before
	// the kernel counts its uptime: the host waits no longer for a guest by default.
	beforeKernel = 2 * time.Minute
	// ownStep is a change of the clock that is not of our doing: a second's slewing is
	// half a millisecond at most (adjtimex(2)), and we look every few seconds.
	ownStep = 100 * time.Millisecond
	// slack is what a clock may be behind: less is the way of the message.
	slack = 2 * time.Millisecond
	// sure is within what time the clocks are read that are compared.
	sure = 100 * time.Microsecond
)

// clock is the guest's, which the host keeps right: it is behind from the start, as
// the hardware's has whole seconds, and by all the time that the guest, or the host,
// stands still. A clock that somebody in the guest sets, or a program there, is left alone
// from then on.
type clock struct {
	now func() (wall, boot time.Duration) // since 1970, and since the start of the kernel
	set func(time.Duration) error

	mu   sync.Mutex
	base time.Duration // wall - boot, as it was last
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

// told hears the host's time, or what the clock is to be moved by, and tells the time.
func (c *clock) told(r agentproto.Request) agentproto.Clock {
	c.mu.Lock()
	defer c.mu.Unlock()
	wall, boot := c.now()
	if d := wall - boot - c.base; d.Abs() > ownStep && !c.own {
		c.own = true
		say("the clock was set in this guest: it is left alone until the next boot")
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

// step is what the clock is to be moved by. What the host said may have waited in the
// channel since before this guest booted: its time is the least that it can be now, and a
// clock that is ahead by no more than it may have waited is more likely right.
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
	_ = unix.ClockGettime(id, &ts) // fails for clocks that are not there only (clock_gettime(2))
	return time.Duration(ts.Nano())
}
