package guest

import (
	"context"
	"time"

	"banger/api"
	"banger/internal/guest/agentproto"
)

const (
	// clockEvery is how often a guest's clock is checked, and clockUsed how long a check is
	// valid while the guest is used: this machine, or the VM, may have been suspended.
	clockEvery = 10 * time.Second
	clockUsed  = time.Second
	// clockSlack is how far off a guest's clock may be: programs that compare times of files
	// do not notice less.
	clockSlack = 2 * time.Millisecond
	// clockFirst bounds the wait for the first check.
	clockFirst = time.Second
)

// KeepTime makes the guest's clock follow this machine's until the link is closed or
// broken. It returns once the clock has been set, or within a second.
func (l *Link) KeepTime() {
	l.used = make(chan struct{}, 1)
	first := make(chan struct{})
	l.keeping.Go(func() { l.keepTime(first) })
	select {
	case <-first:
	case <-time.After(clockFirst):
	}
}

func (l *Link) keepTime(first chan<- struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	l.keeping.Go(func() {
		select {
		case <-l.Done():
			cancel()
		case <-ctx.Done():
		}
	})
	client := &Client{Dial: l.openChannel}
	again := time.NewTicker(clockEvery)
	defer again.Stop()
	for {
		err := setTime(ctx, client)
		at := time.Now().Round(0) // the wall clock: the monotonic one stops while the machine is suspended
		if first != nil {
			close(first)
			first = nil
		}
		if ctx.Err() != nil || api.KindOf(err) == api.KindUnsupported { // an older agent
			return
		}
		for wait := true; wait; {
			select {
			case <-again.C:
				wait = false
			case <-l.used:
				wait = time.Since(at).Abs() < clockUsed
			case <-ctx.Done():
				return
			}
		}
	}
}

// setTime checks the guest's clock, and corrects it if it is off. It waits for a guest that
// hangs: another check would hang, too.
func setTime(ctx context.Context, c *Client) error {
	best := offset{within: 1<<63 - 1}
	for range 5 {
		o, err := askTime(ctx, c)
		if err != nil || o.own {
			return err
		}
		if o.within < best.within {
			best = o
		}
		if best.within < clockSlack/2 || best.by.Abs() > 2*best.within && best.within < clockSlack {
			break
		}
	}
	if best.by.Abs() <= clockSlack || best.by.Abs() <= best.within {
		return nil
	}
	_, err := c.ask(ctx, agentproto.Request{Op: agentproto.OpClock, StepNS: int64(-best.by)})
	return err
}

// ClockState is how a guest's clock is, compared with this machine's.
type ClockState struct {
	Ahead  time.Duration // negative: behind
	Within time.Duration // the measurement's error at most
	// Own reports that somebody in the guest has set it, or that a program there keeps it.
	Own bool
}

// Clock compares the guest's clock with this machine's once. An error of kind unsupported means
// that the agent does not say.
func (c *Client) Clock(ctx context.Context) (ClockState, error) {
	o, err := askTime(ctx, c)
	return ClockState{Ahead: o.by, Within: o.within, Own: o.own}, err
}

// offset is how far a guest's clock is ahead of the host's.
type offset struct {
	by, within time.Duration
	own        bool
}

// askTime requests the guest's time once. The time is assumed to be that of the middle
// between request and answer, with an error of half the time between (RFC 5905, section 8).
func askTime(ctx context.Context, c *Client) (offset, error) {
	asked := time.Now()
	answer, err := c.ask(ctx, agentproto.Request{Op: agentproto.OpClock, Time: asked.UnixNano()})
	if err != nil {
		return offset{}, err
	}
	if answer.Clock == nil {
		return offset{}, api.Errorf(api.KindUnsupported, "the guest's agent answered without the time")
	}
	half := time.Since(asked) / 2
	return offset{time.Duration(answer.Clock.Time-asked.UnixNano()) - half, half, answer.Clock.Own}, nil
}
