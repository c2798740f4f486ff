package vm

import (
	"context"
	"fmt"
	"time"

	"banger/api"
	"banger/internal/op"
)

// endUnproven ends what runs for a VM that is still being looked for: its driver may
// never be able to tell whether that is its VMM. It waits until the search is over,
// as nothing runs then, and says whether there was one.
func (s *Service) endUnproven(ctx context.Context, ref string) (ended bool, err error) {
	s.mu.Lock()
	e, err := s.find(ref)
	sought := err == nil && e.busy == kindRecover
	s.mu.Unlock()
	if err != nil || !sought || s.Host == nil {
		return false, err
	}
	s.Logger.Warn("ending what runs for a VM, whatever it is", "vm", e.id)
	if err := s.Host.Kill(ctx, e.id); err != nil {
		return false, err
	}
	return true, s.awaitRecovered(ctx, e)
}

// unprovenSteps are killSteps for a VM of which endUnproven has ended what ran: who
// looked for it knows only that it was gone.
func (s *Service) unprovenSteps(e *entry) []op.Step {
	said := op.Step{Name: "record", Stays: true, Do: func(ctx context.Context, _ api.Report) error {
		return s.update(ctx, e, func(v *api.VM) {
			if v.State == api.StateStopped {
				v.Reason = "killed"
			}
		})
	}}
	return append(s.killSteps(e), said)
}

// soughtTime is more than one look at a VM takes, and another after it.
const soughtTime = time.Minute

// awaitRecovered waits until a VM is not being looked for any more.
func (s *Service) awaitRecovered(ctx context.Context, e *entry) error {
	ctx, cancel := context.WithTimeoutCause(ctx, soughtTime, fmt.Errorf("not within %s", soughtTime))
	defer cancel()
	if err := s.awaitFound(ctx, e); err != nil {
		return api.Errorf(api.KindTimeout, "cannot tell whether VM %s runs: %w", s.get(e).Name, err).
			WithHint("journalctl -u bangerd -u bangerd-root")
	}
	return nil
}
