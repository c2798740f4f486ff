package vm

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

// errStalled is why a guest does not answer.
func errStalled(name string) error {
	return api.Errorf(api.KindNoSpace, "VM %s is paused: the disk of this host is full", name).
		WithHint("free space, for example with banger image prune: the VM then continues automatically, and loses nothing")
}

// watchStall resumes a machine that stopped because the host's disk was full, as soon as
// there is space, and records until then that it is stopped.
func (s *Service) watchStall(e *entry, r *instance) {
	m, ok := r.machine.(driver.Staller)
	if !ok {
		return
	}
	s.watchDisk(r, r.stalled.Load, func(ctx context.Context) { s.lookAtStall(ctx, e, r, m) })
}

// watchDisk calls look until the VMM ends: at every stallEvery while the host's disk is nearly
// full or something is known to be wrong, and otherwise at every stallAsk.
func (s *Service) watchDisk(r *instance, wrong func() bool, look func(ctx context.Context)) {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	tick := time.NewTicker(s.stallEvery)
	defer tick.Stop()
	var looked time.Time
	for {
		if wrong() || time.Since(looked) > stallAsk || s.room(nearlyFull) != nil {
			looked = time.Now()
			look(ctx)
		}
		select {
		case <-tick.C:
		case <-r.machine.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

// standTime bounds a request to a VMM: another client may be connected to it.
const standTime = time.Second

// lookWhetherItStands marks a running VM as paused if its VMM reports that it is stopped.
func (s *Service) lookWhetherItStands(ctx context.Context, v *api.VM) {
	s.mu.Lock()
	e := s.vms[v.ID]
	s.mu.Unlock()
	if e == nil || v.State != api.StateRunning {
		return
	}
	r := s.runOf(e)
	if r == nil {
		return
	}
	m, ok := r.machine.(driver.Stander)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, standTime)
	defer cancel()
	if why, err := m.Standing(ctx); err == nil && why != "" {
		v.State, v.Reason = api.StatePaused, why
	}
}

func (s *Service) lookAtStall(ctx context.Context, e *entry, r *instance, m driver.Staller) {
	stalled, err := m.Stalled(ctx)
	if err != nil {
		return // it ends, or its monitor is talked to: the next look tells
	}
	if was := r.stalled.Swap(stalled); was != stalled {
		s.mu.Lock()
		name := e.vm.Name
		s.mu.Unlock()
		s.Logger.Warn("a full disk pauses a VM", "vm", name, "paused", stalled)
	}
	if !stalled || s.room(roomAgain) != nil {
		return
	}
	if err := m.Resume(ctx); err != nil {
		s.Logger.Warn("cannot resume a VM", "error", err)
	}
}
