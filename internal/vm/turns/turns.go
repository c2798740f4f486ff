// Package turns lets a bounded number of VMs boot at the same time.
package turns

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

// StepName is the step of a start that waits for other starts.
const StepName = "turn"

// Turns are those of all VMs.
type Turns struct {
	Queue  *queue.Queue // of those that wait
	starts int          // how many may boot at the same time

	mu   sync.Mutex
	held map[*records.Entry]func() // release the place of each VM that boots
}

// New returns turns of which starts can be held at the same time.
func New(starts int) *Turns {
	return &Turns{Queue: queue.New(starts), starts: starts, held: map[*records.Entry]func(){}}
}

// Step waits until few enough other VMs are starting. During the wait the VM has no objects of the
// host. A start that a restart of the daemon interrupts in it continues to wait,
// before all that began later.
func (t *Turns) Step(e *records.Entry) op.Step {
	return op.Step{
		Name: StepName, Waits: true,
		Do:   t.Take(e),
		Undo: func(context.Context) error { t.End(e); return nil },
	}
}

// Take is what the step does.
func (t *Turns) Take(e *records.Entry) func(context.Context, api.Report) error {
	return func(ctx context.Context, report api.Report) error {
		if t.has(e) || e.Run() != nil {
			return nil
		}
		since := time.Now()
		if o := op.FromContext(ctx); o != nil {
			since = o.Snapshot().StartedAt
		}
		leave, err := t.Queue.Enter(ctx, since, func(ahead int) {
			report(api.Progress{Step: StepName, Message: WaitsFor(t.starts, ahead)})
		})
		if err != nil {
			return err
		}
		t.keep(e, leave)
		return nil
	}
}

// WaitsFor says that a start waits for that many that are starting, and for those ahead of it.
func WaitsFor(starting, ahead int) string {
	text := fmt.Sprintf("waiting: %d other VMs are starting", starting)
	if starting == 1 {
		text = "waiting: another VM is starting"
	}
	if ahead > 0 {
		text += fmt.Sprintf(", %d more come first", ahead)
	}
	return text
}

// Join counts a VM as starting without waiting for others: it has been booting since an earlier
// daemon.
func (t *Turns) Join(e *records.Entry) {
	if !t.has(e) {
		t.keep(e, t.Queue.Force())
	}
}

// Held is how many VMs boot now.
func (t *Turns) Held() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.held)
}

func (t *Turns) has(e *records.Entry) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.held[e] != nil
}

func (t *Turns) keep(e *records.Entry, leave func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held[e] = leave
}

// End lets the next VM start. It may be called when the VM has no turn.
func (t *Turns) End(e *records.Entry) {
	t.mu.Lock()
	leave := t.held[e]
	delete(t.held, e)
	t.mu.Unlock()
	if leave != nil {
		leave()
	}
}

// Without removes the wait from a start's times if there was none.
func Without(steps []api.StepTiming) []api.StepTiming {
	return slices.DeleteFunc(steps, func(s api.StepTiming) bool { return s.Step == StepName && s.Milliseconds < 1 })
}
