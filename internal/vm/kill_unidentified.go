package vm

import (
	"context"
	"fmt"
	"time"

	"banger/api"
	"banger/internal/op"
	"banger/internal/vm/records"
)

// killUnidentified ends whatever runs for a VM that is still being recovered: its driver may never
// be able to determine whether that is its VMM. It waits until the recovery is over, because
// nothing runs then, and reports whether there was one.
func (s *Stopper) killUnidentified(ctx context.Context, ref string) (ended bool, err error) {
	at, err := s.table.Look(ref)
	if err != nil || at.Busy != records.KindRecover || s.host.userMode() {
		return false, err
	}
	e := at.Entry
	s.logger.Warn("ending what runs for a VM, whatever it is", "vm", e.ID())
	if err := s.host.kill(ctx, e.ID()); err != nil {
		return false, err
	}
	return true, s.awaitRecovered(ctx, e)
}

// unidentifiedSteps returns killSteps for a VM whose processes killUnidentified has ended: the
// recovery only noticed that they were gone.
func (s *Stopper) unidentifiedSteps(e *records.Entry) []op.Step {
	said := op.Step{Name: "record", Stays: true, Do: func(ctx context.Context, _ api.Report) error {
		return e.Update(ctx, func(v *api.VM) {
			if v.State == api.StateStopped {
				v.Reason = "killed"
			}
		})
	}}
	return append(s.killSteps(e), said)
}

// recoveryTimeout is more than two attempts to recover a VM take.
const recoveryTimeout = time.Minute

// awaitRecovered is Entry.AwaitRecovery for recoveryTimeout at most.
func (s *Stopper) awaitRecovered(ctx context.Context, e *records.Entry) error {
	ctx, cancel := context.WithTimeoutCause(ctx, recoveryTimeout, fmt.Errorf("not within %s", recoveryTimeout))
	defer cancel()
	if err := e.AwaitRecovery(ctx); err != nil {
		return api.Errorf(api.KindTimeout, "cannot determine whether VM %s runs: %w", e.Record().Name, err).
			WithHint("journalctl -u bangerd -u bangerd-root")
	}
	return nil
}
