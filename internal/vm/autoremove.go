package vm

import (
	"time"

	"banger/api"
	"banger/internal/op"
)

// The pauses between tries to remove a VM grow from the first to the last.
const (
	minRemovePause = time.Second
	maxRemovePause = time.Minute
)

// autoRemove deletes a VM that was to be removed when it stops. One that failed
// is kept for inspection.
func (s *Service) autoRemove(e *entry) {
	s.mu.Lock()
	due := s.pendingRemoval(e) && e.busy == "" && !e.removing && s.ctx.Err() == nil
	if due {
		e.removing = true // a deletion that fails gets here again
	}
	s.mu.Unlock()
	if !due {
		return
	}
	o, err := s.Delete(s.ctx, s.get(e).ID, false)
	s.wg.Go(func() { s.retryRemoval(e, o, err) })
}

// pendingRemoval reports whether a VM was to be removed and still exists. One that was never
// started is not removed yet, and one that an older version has kept stays. The caller holds mu.
func (s *Service) pendingRemoval(e *entry) bool {
	return e.vm.AutoRemove && e.vm.State == api.StateStopped && e.vm.StartedAt != nil && e.vm.Reason != vanishedReason &&
		e.run == nil && s.vms[e.id] == e
}

// autoRemoveLeft deletes VMs that an earlier daemon should have removed but could not, because the
// host lost power or both were killed.
func (s *Service) autoRemoveLeft() {
	for _, e := range s.entries() {
		s.autoRemove(e)
	}
}

func (s *Service) entries() (all []*entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.vms {
		all = append(all, e)
	}
	return all
}

// retryRemoval retries the deletion o, or one that err prevented, until it succeeds: one that
// fails is retried, because the reason may be temporary; the next daemon continues to retry.
func (s *Service) retryRemoval(e *entry, o *op.Op, err error) {
	for pause := minRemovePause; ; pause = min(2*pause, maxRemovePause) {
		if err == nil {
			err = o.Wait(s.ctx)
		}
		if err == nil || s.ctx.Err() != nil {
			return
		}
		s.Logger.Error("cannot remove a VM yet that was to go when it stops", "vm", s.get(e).ID, "again_in", pause, "error", err)
		select {
		case <-time.After(pause):
		case <-s.ctx.Done():
			return
		}
		if !s.stillPendingRemoval(e) {
			return
		}
		o, err = s.Delete(s.ctx, s.get(e).ID, false)
	}
}

// stillPendingRemoval is pendingRemoval, and ends the removal of a VM that was started again or deleted.
func (s *Service) stillPendingRemoval(e *entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.removing = s.pendingRemoval(e)
	return e.removing
}
