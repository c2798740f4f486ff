package vm

import (
	"context"
	"time"

	"banger/api"
)

// leaseTime is how long a leased VM exists without a holder: more than a client takes to reconnect
// after a restart of the daemon. A client with a stream to its agent holds it.
const leaseTime = 30 * time.Second

// Lease holds a VM's lease until the returned function is called.
func (s *Service) Lease(ref string) (giveBack func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.find(ref)
	if err != nil {
		return nil, err
	}
	e.leases++
	e.lost++
	return func() {
		s.mu.Lock()
		e.leases--
		s.mu.Unlock()
		s.watchLease(e)
	}, nil
}

// EndLease removes a VM's lease: the VM is then removed when it stops.
func (s *Service) EndLease(ctx context.Context, ref string) error {
	s.mu.Lock()
	e, err := s.find(ref)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.update(ctx, e, func(v *api.VM) { v.Leased = false })
}

// watchLease deletes a leased VM without a holder, unless a client holds it within the time.
func (s *Service) watchLease(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.isLost(e) || s.ctx.Err() != nil {
		return
	}
	e.lost++
	look := e.lost
	s.wg.Go(func() { s.endLost(e, look) })
}

// isLost reports whether no client holds a leased VM. The caller holds mu.
func (s *Service) isLost(e *entry) bool {
	return e.vm.Leased && e.leases == 0 && s.vms[e.id] == e
}

// endLost deletes a VM after leaseTime, and retries if that fails, until it is gone or
// held, or another look began.
func (s *Service) endLost(e *entry, look int) {
	for pause := s.lease; ; {
		select {
		case <-time.After(pause):
		case <-s.ctx.Done():
			return
		}
		s.mu.Lock()
		lost, busy := s.isLost(e) && e.lost == look, e.busy != ""
		s.mu.Unlock()
		if !lost {
			return
		}
		if busy { // with its creation, perhaps, whose client holds it afterwards
			continue
		}
		pause = maxRemovePause
		s.Logger.Info("removing a VM whose client is gone", "vm", e.id)
		o, err := s.Delete(s.ctx, e.id, true)
		if err == nil {
			err = o.Wait(s.ctx)
		}
		if err == nil || s.ctx.Err() != nil {
			return
		}
		s.Logger.Error("cannot remove a VM yet whose client is gone", "vm", e.id, "again_in", maxRemovePause, "error", err)
	}
}

// watchLeases is watchLease for the VMs of an earlier daemon.
func (s *Service) watchLeases() {
	for _, e := range s.entries() {
		s.watchLease(e)
	}
}
