package vm

import (
	"time"

	"banger/api"
	"banger/internal/op"
	"banger/internal/vm/reconcile"
	"banger/internal/vm/records"
)

// The pauses between tries to remove a VM grow from the first to the last.
const (
	minRemovePause = time.Second
	maxRemovePause = time.Minute
)

// autoRemove deletes a VM that was to be removed when it stops. One that failed
// is kept for inspection.
func (s *Remover) autoRemove(e *records.Entry) {
	s.mu.Lock()
	at := e.Snapshot()
	due := pendingRemoval(at) && at.Busy == "" && !s.removing[e] && s.tasks.Context().Err() == nil
	if due {
		s.removing[e] = true // a deletion that fails gets here again
	}
	s.mu.Unlock()
	if !due {
		return
	}
	o, err := s.Delete(s.tasks.Context(), e.ID(), false)
	s.tasks.Go(func() { s.retryRemoval(e, o, err) })
}

// isRemoving reports whether autoRemove is at work on a VM.
func (s *Remover) isRemoving(e *records.Entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.removing[e]
}

// pendingRemoval reports whether a VM was to be removed and still exists. One that was never
// started is not removed yet, and one that an older version has kept stays.
func pendingRemoval(at records.Snapshot) bool {
	return at.VM.AutoRemove && at.VM.State == api.StateStopped && at.VM.StartedAt != nil && at.VM.Reason != reconcile.VanishedReason &&
		at.Run == nil && !at.Forgotten
}

// retryRemoval retries the deletion o, or one that err prevented, until it succeeds: one that
// fails is retried, because the reason may be temporary; the next daemon continues to retry.
func (s *Remover) retryRemoval(e *records.Entry, o *op.Op, err error) {
	ctx := s.tasks.Context()
	for pause := minRemovePause; ; pause = min(2*pause, maxRemovePause) {
		if err == nil {
			err = o.Wait(ctx)
		}
		if err == nil {
			s.endRemoval(e)
			return
		}
		if ctx.Err() != nil {
			return
		}
		s.logger.Error("cannot remove a VM yet that was to go when it stops", "vm", e.Record().ID, "again_in", pause, "error", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		if !s.stillPendingRemoval(e) {
			return
		}
		o, err = s.Delete(ctx, e.Record().ID, false)
	}
}

// stillPendingRemoval is pendingRemoval, and ends the removal of a VM that was started again or deleted.
func (s *Remover) stillPendingRemoval(e *records.Entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if pendingRemoval(e.Snapshot()) {
		return true
	}
	delete(s.removing, e)
	return false
}

// endRemoval forgets a VM that is deleted.
func (s *Remover) endRemoval(e *records.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.removing, e)
}
