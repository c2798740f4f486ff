package vm

import (
	"context"
	"fmt"
	"slices"
	"time"

	"banger/api"
	"banger/internal/op"
)

// stepTurn is the step of a start that waits for other starts.
const stepTurn = "turn"

// turnStep waits until few enough other VMs are starting. During the wait the VM has no objects of the
// host. A start that a restart of the daemon interrupts in it continues to wait,
// before all that began later.
func (s *Service) turnStep(e *entry) op.Step {
	return op.Step{
		Name: stepTurn, Waits: true,
		Do:   s.takeTurn(e),
		Undo: func(context.Context) error { s.endTurn(e); return nil },
	}
}

func (s *Service) takeTurn(e *entry) func(context.Context, api.Report) error {
	return func(ctx context.Context, report api.Report) error {
		s.mu.Lock()
		has := e.turn != nil || e.run != nil
		s.mu.Unlock()
		if has {
			return nil
		}
		since := time.Now()
		if o := op.FromContext(ctx); o != nil {
			since = o.Snapshot().StartedAt
		}
		leave, err := s.starts.Enter(ctx, since, func(ahead int) {
			report(api.Progress{Step: stepTurn, Message: waitsFor(s.Limits.Starts, ahead)})
		})
		if err != nil {
			return err
		}
		s.keepTurn(e, leave)
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

// joinStarts counts a VM as starting without waiting for others: it has been booting since an earlier
// daemon.
func (s *Service) joinStarts(e *entry) {
	s.mu.Lock()
	has := e.turn != nil
	s.mu.Unlock()
	if !has {
		s.keepTurn(e, s.starts.Force())
	}
}

func (s *Service) keepTurn(e *entry, leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.turn = leave
}

// endTurn lets the next VM start. It may be called when the VM has no turn.
func (s *Service) endTurn(e *entry) {
	s.mu.Lock()
	leave := e.turn
	e.turn = nil
	s.mu.Unlock()
	if leave != nil {
		leave()
	}
}

// withoutTurn removes the wait from a start's times if there was none.
func withoutTurn(steps []api.StepTiming) []api.StepTiming {
	return slices.DeleteFunc(steps, func(t api.StepTiming) bool { return t.Step == stepTurn && t.Milliseconds < 1 })
}
