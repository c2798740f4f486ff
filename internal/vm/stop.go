package vm

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"banger/api"
	"banger/internal/op"
	"banger/internal/vm/records"
	"banger/internal/vm/suspend"
)

// Stopper ends and restarts VMs.
type Stopper struct {
	defaults func() (Defaults, error)
	logger   *slog.Logger
	table    *records.Table
	host     *hostSide
	ops      *operations
	starter  *Starter
}

// Stop shuts a VM down: it asks the agent, and kills the VMM after the grace time. It refuses a VM
// that is not running.
func (s *Stopper) Stop(ctx context.Context, ref string, req api.StopVM) (*op.Op, error) {
	if req.GraceSeconds < 0 {
		return nil, api.Errorf(api.KindInvalid, "cannot wait for %d seconds", req.GraceSeconds)
	}
	deadline, err := s.deadline(time.Duration(req.GraceSeconds) * time.Second)
	if err != nil {
		return nil, err
	}
	params, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	return s.ops.startOn(ctx, ref, records.KindStop, records.Snapshot.MustRun, func(e *records.Entry) op.Plan {
		plan := s.ops.plan(e, records.KindStop, s.stopSteps(e, deadline))
		plan.Params, plan.Deadline = string(params), &deadline
		return plan
	})
}

// deadline returns the time at which a grace time that begins now is over; 0 means the setting.
func (s *Stopper) deadline(grace time.Duration) (time.Time, error) {
	if grace == 0 {
		defaults, err := s.defaults()
		if err != nil {
			return time.Now(), err
		}
		grace = defaults.Grace
	}
	return time.Now().Add(grace), nil
}

// Kill ends a VM's VMM immediately, like a power cut. It overtakes operations that stop, start or
// restart the VM.
func (s *Stopper) Kill(ctx context.Context, ref string) (*op.Op, error) {
	ended, err := s.killUnidentified(ctx, ref)
	if err != nil {
		return nil, err
	}
	if ended {
		return s.ops.startOn(ctx, ref, records.KindKill, nil, func(e *records.Entry) op.Plan { return s.ops.plan(e, records.KindKill, s.unidentifiedSteps(e)) })
	}
	id, overtook, err := s.ops.overtake(ctx, ref, records.KindKill, records.KindStop, records.KindStart, records.KindRestart)
	if err != nil {
		return nil, err
	}
	check := records.Snapshot.MustRun
	if overtook {
		check = nil // it may be dead already
	}
	return s.ops.startOn(ctx, id, records.KindKill, check, func(e *records.Entry) op.Plan { return s.ops.plan(e, records.KindKill, s.killSteps(e)) })
}

// Signal sends a signal to a VM's VMM, and waits for its end. SIGKILL is Kill; the others do not overtake
// an operation: the VMM may survive them.
func (s *Stopper) Signal(ctx context.Context, ref string, sig api.Signal) (*op.Op, error) {
	if _, ok := sig.Number(); !ok {
		return nil, api.Errorf(api.KindInvalid, "%.40q is not a signal that ends a VMM", string(sig))
	}
	if sig == api.SignalKill {
		return s.Kill(ctx, ref)
	}
	params, err := json.Marshal(api.SignalVM{Signal: string(sig)})
	if err != nil {
		return nil, err
	}
	return s.ops.startOn(ctx, ref, records.KindKill, records.Snapshot.MustRun, func(e *records.Entry) op.Plan {
		plan := s.ops.plan(e, records.KindKill, s.signalSteps(e, sig))
		plan.Params = string(params)
		return plan
	})
}

func (s *Stopper) signalSteps(e *records.Entry, sig api.Signal) []op.Step {
	return append([]op.Step{{Name: "kill", Stays: true, Do: func(ctx context.Context, report api.Report) error {
		r := e.Run()
		if r == nil {
			return nil
		}
		report(api.Progress{Step: "kill", Message: "waiting for the VMM's end"})
		err := r.Signal(ctx, sig, "killed by SIG"+string(sig))
		if err != nil && api.KindOf(err) != api.KindCanceled {
			name := e.Record().Name
			err = api.Errorf(api.KindOf(err), "cannot end VM %s by SIG%s: %w", name, sig, err).WithHint("banger vm kill %s", name)
		}
		return err
	}}}, s.host.releaseSteps(e)...)
}

// killAgainSteps are the steps of a kill that an earlier daemon began, with its parameters. One without a
// signal has none.
func (s *Stopper) killAgainSteps(e *records.Entry, params string) []op.Step {
	var req api.SignalVM
	if json.Unmarshal([]byte(params), &req) == nil {
		if _, ok := api.Signal(req.Signal).Number(); ok {
			return s.signalSteps(e, api.Signal(req.Signal))
		}
	}
	return s.killSteps(e)
}

// Restart shuts a VM down if it runs, and starts it.
func (s *Stopper) Restart(ctx context.Context, ref string, req api.StartVM) (*op.Op, error) {
	deadline, err := s.deadline(0)
	if err != nil {
		return nil, err
	}
	e, err := s.table.ClaimStart(ref, records.KindRestart, req.Force, func(at records.Snapshot) error {
		if at.VM.State == api.StateSuspended {
			return at.MustRun()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	plan := s.ops.plan(e, records.KindRestart, s.restartSteps(e, deadline))
	plan.Deadline = &deadline
	return s.ops.launch(ctx, e, plan)
}

func (s *Stopper) stopSteps(e *records.Entry, deadline time.Time) []op.Step {
	return append([]op.Step{s.shutdownStep(e, deadline)}, s.host.releaseSteps(e)...)
}

func (s *Stopper) killSteps(e *records.Entry) []op.Step {
	return append([]op.Step{{Name: "kill", Stays: true, Do: func(ctx context.Context, _ api.Report) error {
		return e.Kill(ctx, "killed")
	}}}, s.host.releaseSteps(e)...)
}

func (s *Stopper) restartSteps(e *records.Entry, deadline time.Time) []op.Step {
	return append([]op.Step{s.shutdownStep(e, deadline)}, s.starter.steps(e)...)
}

// shutdownStep asks the guest to power off, and kills the VMM if it has not ended by the deadline.
func (s *Stopper) shutdownStep(e *records.Entry, deadline time.Time) op.Step {
	return op.Step{
		Name: "shutdown",
		Do:   func(ctx context.Context, report api.Report) error { return s.shutdown(ctx, e, deadline, report) },
		// A guest's shutdown cannot be cancelled.
		Undo: func(context.Context) error {
			r, name := e.Run(), e.Record().Name
			if r == nil || !r.Asked() {
				return nil
			}
			return op.Keep(api.Errorf(api.KindCanceled, "the guest was asked to shut down before the cancellation, and continues: VM %s stops when it has", name).
				WithHint("banger vm wait %[1]s, or: banger vm kill %[1]s", name))
		},
	}
}

func (s *Stopper) shutdown(ctx context.Context, e *records.Entry, deadline time.Time, report api.Report) error {
	r := e.Run()
	if r == nil {
		return nil
	}
	began := time.Now()
	if o := op.FromContext(ctx); o != nil {
		began = o.Snapshot().StartedAt // under an earlier daemon, perhaps
	}
	if e.Record().State == api.StatePaused { // a paused guest cannot shut down
		if err := suspend.Resume(ctx, e); err != nil {
			return err
		}
	}
	r.SetFirstReason("stopped") // it may be being killed already
	report(api.Progress{Step: "shutdown", Message: "shutting down"})
	waitCtx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	if r.Shutdown(waitCtx) {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return e.Kill(ctx, fmt.Sprintf("killed: it did not shut down within %s", deadline.Sub(began).Round(time.Millisecond)))
}
