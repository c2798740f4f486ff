package vm

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/op"
	"banger/internal/vm/records"
)

// blind is a driver that cannot tell what runs, as one whose helper does not answer.
type blind struct {
	driver.Driver
	sees atomic.Bool
}

func (b *blind) Recover(ctx context.Context, id, dir string, hint json.RawMessage) (driver.Machine, error) {
	if !b.sees.Load() {
		return nil, errors.New("bangerd-root does not answer")
	}
	return b.Driver.Recover(ctx, id, dir, hint)
}

// enterBlind is enter where the driver cannot tell what runs.
func (w *world) enterBlind() *blind {
	w.t.Helper()
	w.build()
	b := &blind{Driver: w.machines.Drivers[0]}
	w.machines.Drivers[0] = b
	if err := w.Recover(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return b
}

// left is an operation that a daemon died at a step of.
func (w *world) left(kind, target, step string) api.Operation {
	w.t.Helper()
	row := api.Operation{ID: op.NewID(), Kind: kind, Target: target, Step: step}
	if err := w.store.BeginOperation(w.t.Context(), row); err != nil {
		w.t.Fatal(err)
	}
	return row
}

// TestWorkOnWhatIsSoughtWaits: what an earlier daemon left of work on a VM is done
// when the VM is found, however often the daemon is restarted before.
func TestWorkOnWhatIsSoughtWaits(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "starts"}))
	w.must(w.Create(t.Context(), api.CreateVM{Name: "stops", Start: true}))
	w.must(w.Create(t.Context(), api.CreateVM{Name: "goes", Start: true}))
	w.fault("slow=300ms")
	start, err := w.Start(t.Context(), "starts", api.StartVM{})
	if err != nil {
		t.Fatal(err)
	}
	untilStep(t, start, "agent")
	pid := w.show("starts").PID
	ids := []string{
		start.ID(), w.left(records.KindStop, w.show("stops").ID, "shutdown").ID, w.left(KindDelete, w.show("goes").ID, "kill").ID,
	}
	w.leave()
	w.enterBlind()
	for _, id := range ids {
		if o, err := w.Ops.Get(id); err != nil || o.Snapshot().Status != api.OpRunning {
			t.Fatalf("%s does not wait: %v", id, err)
		}
	}
	if err := w.do(w.Start(t.Context(), "starts", api.StartVM{})); api.KindOf(err) != api.KindConflict {
		t.Errorf("another start gives %v", err)
	}
	w.leave()
	w.enterBlind().sees.Store(true)
	for _, id := range ids {
		o, err := w.Ops.Get(id)
		w.must(o, err)
	}
	if v := w.show("starts"); v.State != api.StateRunning || v.PID != pid {
		t.Errorf("what started is %s (%s), pid %d, was %d", v.State, v.Reason, v.PID, pid)
	}
	w.health("starts")
	if v := w.show("stops"); v.State != api.StateStopped || v.PID != 0 {
		t.Errorf("what was to stop is %s", v.State)
	}
	if _, err := w.Show(t.Context(), "goes"); api.KindOf(err) != api.KindNotFound {
		t.Errorf("what was to go: %v", err)
	}
}

// TestCancelledWorkOnWhatIsSoughtWaits: a start that nobody wants any more is undone
// when the VM is found, not while its VMM runs unknown.
func TestCancelledWorkOnWhatIsSoughtWaits(t *testing.T) {
	w := newWorld(t)
	w.interrupt(t, "vmm", false)
	b := w.enterBlind()
	id := w.show("dev").ID
	o, err := w.Ops.Get(w.Ops.List()[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Ops.Cancel(o.ID()); err != nil {
		t.Fatal(err)
	}
	b.sees.Store(true)
	if err := o.Wait(t.Context()); api.KindOf(err) != api.KindCanceled {
		t.Errorf("it ended with %v", err)
	}
	w.nothingLeft()
	if _, err := w.machines.Drivers[0].Recover(t.Context(), id, w.Paths.VM(id), nil); !errors.Is(err, driver.ErrGone) {
		t.Errorf("its VMM runs on: %v", err)
	}
}

// TestSettleLeavesWhatWasSought: a guest that runs although nothing says so is not
// ended by the daemon that could not tell at first.
func TestSettleLeavesWhatWasSought(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	e := w.table.ByID(w.show("dev").ID)
	e.Note(t.Context(), func(v *api.VM) { v.State = api.StateStopped })
	w.leave()
	w.enterBlind().sees.Store(true)
	for w.show("dev").PID == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	w.recovery.Settle(t.Context())
	w.health("dev")
}

// TestSessionsOfWhatIsSoughtWait: who asks for a guest that is still being looked for is
// not told that it does not run.
func TestSessionsOfWhatIsSoughtWait(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	w.leave()
	b := w.enterBlind()
	if _, err := w.DialGuest(t.Context(), "dev"); api.KindOf(err) != api.KindTimeout {
		t.Errorf("a session: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if v, err := w.Wait(ctx, "dev"); err == nil {
		t.Errorf("it is not waited for: %s", v.State)
	}
	b.sees.Store(true)
	for w.show("dev").PID == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	w.health("dev")
}
