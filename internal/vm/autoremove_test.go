package vm

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"banger/api"
	"banger/internal/op"
)

// noDeletions is a log that takes no deletion until it is open again.
type noDeletions struct {
	op.Log
	shut  atomic.Bool
	tries atomic.Int64
}

func (l *noDeletions) BeginOperation(ctx context.Context, row api.Operation) error {
	// One that is asked again at once would ask for ever: it is let go.
	if row.Kind == KindDelete && l.tries.Add(1) < 20 && l.shut.Load() {
		return errors.New("disk I/O error")
	}
	return l.Log.BeginOperation(ctx, row)
}

// TestAutoRemoveIsTriedAgain: a removal that cannot be recorded is neither forgotten
// nor asked for without a pause.
func TestAutoRemoveIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	log := &noDeletions{Log: w.store}
	w.setOps(op.NewManager(log, slog.New(slog.DiscardHandler)))
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true, AutoRemove: true}))
	log.shut.Store(true)
	w.must(w.Kill(t.Context(), "dev"))
	if v := w.show("dev"); v.State != api.StateStopped || log.tries.Load() != 1 {
		t.Errorf("it is %s after %d tries", v.State, log.tries.Load())
	}
	log.shut.Store(false)
	w.untilGone("dev")
	w.nothingLeft()
	if n := log.tries.Load(); n != 2 {
		t.Errorf("it took %d tries", n)
	}
}

// TestAutoRemoveThatFailsIsTriedAgain: so is one that was begun, and could not release
// what the host holds.
func TestAutoRemoveThatFailsIsTriedAgain(t *testing.T) {
	h := &host{}
	w := newWorldOn(t, h)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true, AutoRemove: true}))
	h.failReleases(3) // at the VMM's end, of the kill, of the removal
	began := time.Now()
	if err := w.do(w.Kill(t.Context(), "dev")); err == nil {
		t.Error("a kill that releases nothing succeeds")
	}
	w.untilGone("dev")
	w.nothingLeft()
	if took := time.Since(began); took < minRemovePause {
		t.Errorf("it was tried again within %s", took)
	}
}

// untilGone waits until a VM is deleted.
func (w *world) untilGone(ref string) {
	w.t.Helper()
	for range 1000 {
		if _, err := w.Show(w.t.Context(), ref); api.KindOf(err) == api.KindNotFound {
			w.settleOps()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.t.Fatalf("%s is not removed", ref)
}
