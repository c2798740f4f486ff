package vm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"banger/api"
	"banger/internal/op"
	"banger/internal/queue"
	"banger/internal/vm/turns"
)

// oneAtATime lets one VM of a world boot at a time.
func (w *world) oneAtATime() {
	w.ops.turns = turns.New(1)
}

// TestStartsTakeTurns: a crowd of starts boots one by one, in the order in which they
// came, and says so.
func TestStartsTakeTurns(t *testing.T) {
	w := newWorld(t)
	w.oneAtATime()
	w.fault("slow=2s") // the first: as long as the others take to come
	var all []*op.Op
	for n := range 4 {
		o, err := w.Create(t.Context(), api.CreateVM{Name: fmt.Sprintf("vm%d", n), Start: true})
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			untilStep(t, o, "agent")
		} else {
			untilWaits(t, o, n-1)
		}
		all = append(all, o)
	}
	w.fault("slow=50ms")
	for n, o := range all {
		if err := o.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, later := range all[n+1:] {
			select {
			case <-later.Done():
				t.Error("a later start was done first")
			default:
			}
		}
	}
	var told []string
	_ = all[3].Follow(t.Context(), func(e api.Event) error {
		if e.Progress != nil && e.Progress.Step == turns.StepName {
			told = append(told, e.Progress.Message)
		}
		return nil
	})
	if len(told) != 3 || told[0] != "waiting: another VM is starting, 2 more come first" || told[2] != "waiting: another VM is starting" {
		t.Errorf("the last one was told %q", told)
	}
	for n := range all {
		w.health(fmt.Sprintf("vm%d", n))
	}
	timing := w.show("vm3").Timing
	if at := slices.IndexFunc(timing, func(s api.StepTiming) bool { return s.Step == turns.StepName }); at < 0 || timing[at].Milliseconds < 300 {
		t.Errorf("its times are %v", timing)
	}
}

// TestWaitingStartIsCancelled: nothing is left of a creation that is cancelled while it
// waits, and it holds up nobody.
func TestWaitingStartIsCancelled(t *testing.T) {
	w := newWorld(t)
	w.oneAtATime()
	w.fault("slow=300ms")
	first, err := w.Create(t.Context(), api.CreateVM{Name: "first", Start: true})
	if err != nil {
		t.Fatal(err)
	}
	untilStep(t, first, "agent")
	second, err := w.Create(t.Context(), api.CreateVM{Name: "second", Start: true})
	if err != nil {
		t.Fatal(err)
	}
	untilWaits(t, second, 0)
	if err := w.Ops.Cancel(second.ID()); err != nil {
		t.Fatal(err)
	}
	if err := second.Wait(t.Context()); api.KindOf(err) != api.KindCanceled || !strings.Contains(err.Error(), "nothing is left of it") {
		t.Errorf("it says %v", err)
	}
	w.must(first, nil)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "third", Start: true}))
}

// TestTurnsOutliveDaemons: starts that wait go on waiting under the next daemons, however
// many these are, in their order.
func TestTurnsOutliveDaemons(t *testing.T) {
	w := newWorld(t)
	w.oneAtATime()
	w.fault("slow=300ms")
	boots := w.ops.turns.Queue.Force() // another VM
	var ids []string
	for n := range 2 {
		o, err := w.Create(t.Context(), api.CreateVM{Name: fmt.Sprintf("vm%d", n), Start: true})
		if err != nil {
			t.Fatal(err)
		}
		untilWaits(t, o, n)
		ids = append(ids, o.ID())
	}
	for range 3 { // more often than an operation is taken up that does not wait
		w.leave()
		w.build()
		w.oneAtATime()
		boots = w.ops.turns.Queue.Force()
		if err := w.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		for n, id := range ids {
			o, err := w.Ops.Get(id)
			if err != nil {
				t.Fatal(err)
			}
			untilWaits(t, o, n)
		}
	}
	boots()
	ended := map[string]time.Time{}
	for _, id := range ids {
		o, err := w.Ops.Get(id)
		w.must(o, err)
		ended[id] = *o.Snapshot().FinishedAt
	}
	if !ended[ids[0]].Before(ended[ids[1]]) {
		t.Error("the order was lost")
	}
	w.health("vm0")
	w.health("vm1")
}

// untilWaits waits until a start waits for its turn behind ahead others that wait.
func untilWaits(t *testing.T, o *op.Op, ahead int) {
	t.Helper()
	err := o.Follow(t.Context(), func(e api.Event) error {
		if e.Progress != nil && e.Progress.Message == turns.WaitsFor(1, ahead) {
			return errWaits
		}
		return nil
	})
	if !errors.Is(err, errWaits) {
		t.Fatalf("it does not wait behind %d: %v, %+v", ahead, err, o.Snapshot())
	}
}

var errWaits = errors.New("it waits")

// TestBootsOfAnEarlierDaemonCount: a VM that boots since before the daemon's start takes
// its turn without waiting.
func TestBootsOfAnEarlierDaemonCount(t *testing.T) {
	w := newWorld(t)
	w.fault("slow=1s")
	for n := range 2 {
		o, err := w.Create(t.Context(), api.CreateVM{Name: fmt.Sprintf("vm%d", n), Start: true})
		if err != nil {
			t.Fatal(err)
		}
		untilStep(t, o, "agent")
		if n == 0 {
			w.ops.turns.Queue = queue.New(2)
		}
	}
	w.leave()
	w.build()
	w.oneAtATime()
	if err := w.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, row := range w.Ops.List() {
		o, err := w.Ops.Get(row.ID)
		w.must(o, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	leave, err := w.ops.turns.Queue.Enter(ctx, time.Now(), func(int) {})
	if err != nil {
		t.Fatal("a turn was not given back")
	}
	leave()
}
