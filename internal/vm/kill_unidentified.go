package vm

import (
	"context"
	"fmt"
	"time"

	"banger/api"
	"banger/internal/op"
)

// killUnidentified ends whatever runs for a VM that is still being recovered: its driver may never
// be able to determine whether that is its VMM. It waits until the recovery is over, because
// nothing runs then, and reports whether there was one.
func (s *Service) killUnidentified(ctx context.Context, ref string) (ended bool, err error) {
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

// unidentifiedSteps returns killSteps for a VM whose processes killUnidentified has ended: the
// recovery only noticed that they were gone.
func (s *Service) unidentifiedSteps(e *entry) []op.Step {
	said := op.Step{Name: "record", Stays: true, Do: func(ctx context.Context, _ api.Report) error {
		return s.update(ctx, e, func(v *api.VM) {
			if v.State == api.StateStopped {
				v.Reason = "killed"
			}
		})
	}}
	return append(s.killSteps(e), said)
}

// recoveryTimeout is more than two attempts to recover a VM take.
const recoveryTimeout = time.Minute

// awaitRecovered is awaitRecovery for recoveryTimeout at most.
func (s *Service) awaitRecovered(ctx context.Context, e *entry) error {
	ctx, cancel := context.WithTimeoutCause(ctx, recoveryTimeout, fmt.Errorf("not within %s", recoveryTimeout))
	defer cancel()
	if err := s.awaitRecovery(ctx, e); err != nil {
		return api.Errorf(api.KindTimeout, "cannot determine whether VM %s runs: %w", s.get(e).Name, err).
			WithHint("journalctl -u bangerd -u bangerd-root")
	}
	return nil
}
