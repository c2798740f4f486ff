package vm

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"

	"banger/api"
	"banger/internal/op"
	"banger/internal/store"
	"banger/internal/vm/records"
)

// filling is a store on a disk that is full from one write on, until there is room again.
type filling struct {
	*store.Store
	left *atomic.Int64 // how many writes still succeed
}

func (f filling) write(do func() error) error {
	if f.left.Add(-1) < 0 {
		return noRoom()
	}
	return do()
}

func (f filling) AddVM(ctx context.Context, v api.VM) error {
	return f.write(func() error { return f.Store.AddVM(ctx, v) })
}

func (f filling) PutVM(ctx context.Context, v api.VM) error {
	return f.write(func() error { return f.Store.PutVM(ctx, v) })
}

func (f filling) SettleVM(ctx context.Context, v api.VM, operation string, how op.Settled) error {
	return f.write(func() error { return f.Store.SettleVM(ctx, v, operation, how) })
}

func (f filling) AnswerVM(ctx context.Context, v api.VM, request string, answer []byte) error {
	return f.write(func() error { return f.Store.AnswerVM(ctx, v, request, answer) })
}

func (f filling) DeleteVM(ctx context.Context, id string) error {
	return f.write(func() error { return f.Store.DeleteVM(ctx, id) })
}

func (f filling) BeginOperation(ctx context.Context, row api.Operation) error {
	return f.write(func() error { return f.Store.BeginOperation(ctx, row) })
}

func (f filling) EnterStep(ctx context.Context, id, step string, undoing bool) error {
	return f.write(func() error { return f.Store.EnterStep(ctx, id, step, undoing) })
}

func (f filling) EndOperation(ctx context.Context, last api.Event) error {
	return f.write(func() error { return f.Store.EndOperation(ctx, last) })
}

// plenty is more writes than any operation makes.
const plenty = 1000

// fillingWorld is a world whose disk fills.
type fillingWorld struct {
	*world
	left atomic.Int64
}

func newFillingWorld(t *testing.T) *fillingWorld {
	w := &fillingWorld{world: newWorld(t)}
	w.left.Store(plenty)
	w.wrap()
	return w
}

func (w *fillingWorld) wrap() {
	w.setOps(op.NewManager(filling{w.store, &w.left}, slog.New(slog.DiscardHandler)))
	w.setStore(filling{w.store, &w.left})
}

// restart is the next daemon, which has brought all operations to an end.
func (w *fillingWorld) restart() {
	w.t.Helper()
	w.leave()
	w.build()
	w.wrap()
	if err := w.Recover(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.settleOps()
}

// TestFullDiskAtEveryWrite: the disk fills before each write of each kind of operation, and
// is full for the next daemon, too. What a client was told is done stays done, no other VM
// is touched, and with room again everything can be used and removed.
func TestFullDiskAtEveryWrite(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT TESTED: a full disk at every write, with -short")
	}
	kinds := map[string]struct {
		running bool // before it
		do      func(w *fillingWorld) (*op.Op, error)
		want    api.State // after it; empty: none
	}{
		records.KindCreate: {false, func(w *fillingWorld) (*op.Op, error) { return w.Create(t.Context(), api.CreateVM{Name: "new"}) }, api.StateStopped},
		records.KindRun: {false, func(w *fillingWorld) (*op.Op, error) {
			return w.Create(t.Context(), api.CreateVM{Name: "new", Start: true})
		}, api.StateRunning},
		records.KindStart:   {false, func(w *fillingWorld) (*op.Op, error) { return w.Start(t.Context(), "new", api.StartVM{}) }, api.StateRunning},
		records.KindStop:    {true, func(w *fillingWorld) (*op.Op, error) { return w.Stop(t.Context(), "new", api.StopVM{}) }, api.StateStopped},
		records.KindRestart: {true, func(w *fillingWorld) (*op.Op, error) { return w.Restart(t.Context(), "new", api.StartVM{}) }, api.StateRunning},
		records.KindKill:    {true, func(w *fillingWorld) (*op.Op, error) { return w.Kill(t.Context(), "new") }, api.StateStopped},
		records.KindPause:   {true, func(w *fillingWorld) (*op.Op, error) { return w.Pause(t.Context(), "new") }, api.StatePaused},
		records.KindSuspend: {true, func(w *fillingWorld) (*op.Op, error) { return w.Suspend(t.Context(), "new") }, api.StateSuspended},
		KindDelete:          {true, func(w *fillingWorld) (*op.Op, error) { return w.Delete(t.Context(), "new", true) }, ""},
	}
	for kind, c := range kinds {
		t.Run(kind, func(t *testing.T) {
			for n := int64(0); ; n++ {
				if !fullFrom(t, fmt.Sprintf("full from write %d on", n), n, kind == records.KindCreate || kind == records.KindRun, c.running, c.do, c.want) {
					return
				}
			}
		})
	}
}

// fullFrom is one case, and says whether the disk was full before the operation's end.
func fullFrom(t *testing.T, name string, n int64, creates, running bool, do func(*fillingWorld) (*op.Op, error), want api.State) (full bool) {
	t.Run(name, func(t *testing.T) {
		w := newFillingWorld(t)
		w.must(w.Create(t.Context(), api.CreateVM{Name: "other", Start: true}))
		other := w.show("other")
		if !creates {
			w.must(w.Create(t.Context(), api.CreateVM{Name: "new", Start: running}))
		}
		w.left.Store(n)
		err := w.do(do(w))
		full = w.left.Load() < 0
		for range 2 { // full still, then with room
			found, missing := w.Show(t.Context(), "new")
			switch {
			case err != nil:
			case want == "" && missing == nil:
				t.Errorf("deleted, it is %s", found.State)
			case want != "" && (missing != nil || found.State != want):
				t.Errorf("told that it is done, it is %s, %v", found.State, missing)
			}
			if creates && err != nil && missing == nil && found.State != api.StateFailed {
				t.Errorf("told that it failed (%v), it is %s", err, found.State)
			}
			if runs := found.State == api.StateRunning || found.State == api.StatePaused; found.PID > 0 != runs && missing == nil {
				t.Errorf("%s with pid %d", found.State, found.PID)
			}
			if now := w.show("other"); now.PID != other.PID || now.State != api.StateRunning {
				t.Errorf("another VM is %s, pid %d", now.State, now.PID)
			}
			w.restart()
			w.left.Store(plenty)
		}
		w.restart()
		w.health("other")
	})
	return full
}
