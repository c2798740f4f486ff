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
func (r *Remover) autoRemove(e *records.Entry) {
	r.mu.Lock()
	at := e.Snapshot()
	due := pendingRemoval(at) && at.Busy == "" && !r.removing[e] && r.tasks.Context().Err() == nil
	if due {
		r.removing[e] = true // a deletion that fails gets here again
	}
	r.mu.Unlock()
	if !due {
		return
	}
	o, err := r.Delete(r.tasks.Context(), e.ID(), false)
	r.tasks.Go(func() { r.retryRemoval(e, o, err) })
}

// isRemoving reports whether autoRemove is at work on a VM.
func (r *Remover) isRemoving(e *records.Entry) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.removing[e]
}

// pendingRemoval reports whether a VM was to be removed and still exists. One that was never
// started is not removed yet, and one that an older version has kept stays.
func pendingRemoval(at records.Snapshot) bool {
	return at.VM.AutoRemove && at.VM.State == api.StateStopped && at.VM.StartedAt != nil && at.VM.Reason != reconcile.VanishedReason &&
		at.Run == nil && !at.Forgotten
}

// retryRemoval retries the deletion o, or one that err prevented, until it succeeds: one that
// fails is retried, because the reason may be temporary; the next daemon continues to retry.
func (r *Remover) retryRemoval(e *records.Entry, o *op.Op, err error) {
	ctx := r.tasks.Context()
	for pause := minRemovePause; ; pause = min(2*pause, maxRemovePause) {
		if err == nil {
			err = o.Wait(ctx)
		}
		if err == nil {
			r.endRemoval(e)
			return
		}
		if ctx.Err() != nil {
			return
		}
		r.logger.Error("cannot remove a VM yet that was to go when it stops", "vm", e.Record().ID, "again_in", pause, "error", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		if !r.stillPendingRemoval(e) {
			return
		}
		o, err = r.Delete(ctx, e.Record().ID, false)
	}
}

// stillPendingRemoval is pendingRemoval, and ends the removal of a VM that was started again or deleted.
func (r *Remover) stillPendingRemoval(e *records.Entry) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if pendingRemoval(e.Snapshot()) {
		return true
	}
	delete(r.removing, e)
	return false
}

// endRemoval forgets a VM that is deleted.
func (r *Remover) endRemoval(e *records.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.removing, e)
}
