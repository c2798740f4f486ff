package instance

import (
	"context"
	"time"

	"banger/api"
	"banger/internal/driver"
)

const (
	// stallEvery is how often the host's disk is checked for space, and stallAsk how often a machine is
	// asked although the disk has space: another limit may be reached, such as a quota.
	stallEvery = 2 * time.Second
	stallAsk   = 30 * time.Second
	// nearlyFull is the free space, in bytes, below which a machine is asked each time, and
	// roomAgain the space that must be free before it continues.
	nearlyFull = 1 << 30
	roomAgain  = 16 << 20
)

// Stalled reports whether the machine is stopped because the host's disk is full.
func (i *Instance) Stalled() bool { return i.stalled.Load() }

// ErrStalled returns why the guest of a stalled VM does not answer.
func ErrStalled(name string) error {
	return api.Errorf(api.KindNoSpace, "VM %s is paused: the disk of this host is full", name).
		WithHint("free space, for example with banger image prune: the VM then continues automatically, and loses nothing")
}

// watchStall resumes a machine that stopped because the host's disk was full, as soon as
// there is space, and records until then that it is stopped.
func (s *Instances) watchStall(i *Instance) {
	m, ok := i.machine.(driver.Staller)
	if !ok {
		return
	}
	s.watchDisk(i, i.Stalled, func(ctx context.Context) { s.lookAtStall(ctx, i, m) })
}

// watchDisk calls look until the VMM ends: at every StallEvery while the host's disk is nearly
// full or something is known to be wrong, and otherwise at every stallAsk.
func (s *Instances) watchDisk(i *Instance, wrong func() bool, look func(ctx context.Context)) {
	ctx, cancel := context.WithCancel(s.tasks.Context())
	defer cancel()
	tick := time.NewTicker(s.StallEvery)
	defer tick.Stop()
	var looked time.Time
	for {
		if wrong() || time.Since(looked) > stallAsk || s.Room(nearlyFull) != nil {
			looked = time.Now()
			look(ctx)
		}
		select {
		case <-tick.C:
		case <-i.machine.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

func (s *Instances) lookAtStall(ctx context.Context, i *Instance, m driver.Staller) {
	stalled, err := m.Stalled(ctx)
	if err != nil {
		return // it ends, or its monitor is talked to: the next look tells
	}
	if was := i.stalled.Swap(stalled); was != stalled {
		s.Logger.Warn("a full disk pauses a VM", "vm", i.vm().Name, "paused", stalled)
	}
	if !stalled || s.Room(roomAgain) != nil {
		return
	}
	if err := m.Resume(ctx); err != nil {
		s.Logger.Warn("cannot resume a VM", "error", err)
	}
}

// standTime bounds a request to a VMM: another client may be connected to it.
const standTime = time.Second

// Standing returns why the machine is stopped according to its VMM, or "" if it is not, or if that is
// unknown.
func (i *Instance) Standing(ctx context.Context) string {
	m, ok := i.machine.(driver.Stander)
	if !ok {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, standTime)
	defer cancel()
	why, err := m.Standing(ctx)
	if err != nil {
		return ""
	}
	return why
}
