package vm

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"banger/api"
	"banger/internal/op"
	"banger/internal/queue"
	"banger/internal/vm/records"
)

// stepTurn is the step of a start that waits for other starts.
const stepTurn = "turn"

// turns lets a bounded number of VMs boot at the same time.
type turns struct {
	queue  *queue.Queue
	starts int // how many may boot at the same time

	mu   sync.Mutex
	held map[*records.Entry]func() // release the place of each VM that boots
}

func newTurns(starts int) *turns {
	return &turns{queue: queue.New(starts), starts: starts, held: map[*records.Entry]func(){}}
}

// step waits until few enough other VMs are starting. During the wait the VM has no objects of the
// host. A start that a restart of the daemon interrupts in it continues to wait,
// before all that began later.
func (t *turns) step(e *records.Entry) op.Step {
	return op.Step{
		Name: stepTurn, Waits: true,
		Do:   t.take(e),
		Undo: func(context.Context) error { t.end(e); return nil },
	}
}

func (t *turns) take(e *records.Entry) func(context.Context, api.Report) error {
	return func(ctx context.Context, report api.Report) error {
		if t.has(e) || e.Run() != nil {
			return nil
		}
		since := time.Now()
		if o := op.FromContext(ctx); o != nil {
			since = o.Snapshot().StartedAt
		}
		leave, err := t.queue.Enter(ctx, since, func(ahead int) {
			report(api.Progress{Step: stepTurn, Message: waitsFor(t.starts, ahead)})
		})
		if err != nil {
			return err
		}
		t.keep(e, leave)
		return nil
	}
}

func waitsFor(starting, ahead int) string {
	text := fmt.Sprintf("waiting: %d other VMs are starting", starting)
	if starting == 1 {
		text = "waiting: another VM is starting"
	}
	if ahead > 0 {
		text += fmt.Sprintf(", %d more come first", ahead)
	}
	return text
}

// join counts a VM as starting without waiting for others: it has been booting since an earlier
// daemon.
func (t *turns) join(e *records.Entry) {
	if !t.has(e) {
		t.keep(e, t.queue.Force())
	}
}

func (t *turns) has(e *records.Entry) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.held[e] != nil
}

func (t *turns) keep(e *records.Entry, leave func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held[e] = leave
}

// end lets the next VM start. It may be called when the VM has no turn.
func (t *turns) end(e *records.Entry) {
	t.mu.Lock()
	leave := t.held[e]
	delete(t.held, e)
	t.mu.Unlock()
	if leave != nil {
		leave()
	}
}

// withoutTurn removes the wait from a start's times if there was none.
func withoutTurn(steps []api.StepTiming) []api.StepTiming {
	return slices.DeleteFunc(steps, func(s api.StepTiming) bool { return s.Step == stepTurn && s.Milliseconds < 1 })
}
