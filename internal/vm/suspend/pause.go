// Package suspend stops VMs that continue later: a paused one keeps its VMM and its memory, the memory of a
// suspended one is on the host's disk.
package suspend

import (
	"context"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/op"
	"banger/internal/vm/records"
)

// Pauser pauses VMs, and resumes them.
type Pauser struct{ Operations }

// Operations start operations on VMs.
type Operations struct {
	Table *records.Table
	// Plan wraps steps on one VM into a plan, and Launch starts it on a VM that was claimed for it.
	Plan   func(e *records.Entry, kind string, steps []op.Step) op.Plan
	Launch func(ctx context.Context, e *records.Entry, plan op.Plan) (*op.Op, error)
}

// begin claims a VM and starts an operation on it.
func (o Operations) begin(ctx context.Context, ref, kind string, check func(records.Snapshot) error, plan func(*records.Entry) op.Plan) (*op.Op, error) {
	e, err := o.Table.Claim(ref, kind, check)
	if err != nil {
		return nil, err
	}
	return o.Launch(ctx, e, plan(e))
}

// Pause stops the processors of a VM, which keeps its memory and its open sessions. A VM that is
// paused already stays so.
func (p *Pauser) Pause(ctx context.Context, ref string) (*op.Op, error) {
	return p.begin(ctx, ref, records.KindPause, canPause, func(e *records.Entry) op.Plan {
		return p.Plan(e, records.KindPause, PauseSteps(e))
	})
}

// Resume lets a paused VM run again. One that runs goes on.
func (p *Pauser) Resume(ctx context.Context, ref string) (*op.Op, error) {
	return p.begin(ctx, ref, records.KindResume, records.Snapshot.MustRun, func(e *records.Entry) op.Plan {
		return p.Plan(e, records.KindResume, ResumeSteps(e))
	})
}

// canPause refuses a VM that does not run, or that its host's full disk has stopped: it continues when
// there is space, and would not be paused any more.
func canPause(at records.Snapshot) error {
	if at.Run == nil {
		return at.MustRun()
	}
	if at.VM.State == api.StatePaused {
		return nil
	}
	return at.Reachable()
}

// PauseSteps pause a VM. They can be repeated: an earlier daemon may have done their work.
func PauseSteps(e *records.Entry) []op.Step {
	return []op.Step{{
		Name: "pause",
		Do: func(ctx context.Context, _ api.Report) error {
			err := withPauser(e, func(m driver.Pauser) error { return m.Pause(ctx) })
			if err != nil {
				return err
			}
			return e.Update(ctx, func(v *api.VM) { v.State, v.Reason = api.StatePaused, pausedReason })
		},
		Undo: func(ctx context.Context) error { return Resume(ctx, e) },
	}}
}

// pausedReason is the reason of a VM's state that is paused, and not stopped by a full disk.
const pausedReason = "it stands still until banger vm resume"

// ResumeSteps resume a VM. They can be repeated.
func ResumeSteps(e *records.Entry) []op.Step {
	return []op.Step{{Name: "resume", Do: func(ctx context.Context, _ api.Report) error { return Resume(ctx, e) }}}
}

// Resume lets a VM run that may be paused, if it has a VMM at all.
func Resume(ctx context.Context, e *records.Entry) error {
	if e.Run() == nil {
		return nil
	}
	if err := withPauser(e, func(m driver.Pauser) error { return m.Resume(ctx) }); err != nil {
		return err
	}
	if e.Record().State != api.StatePaused {
		return nil
	}
	return e.Update(ctx, func(v *api.VM) { v.State, v.Reason = api.StateRunning, "" })
}

// withPauser calls do with the machine of a VM that runs, if that can be paused.
func withPauser(e *records.Entry, do func(driver.Pauser) error) error {
	r := e.Run()
	if r == nil {
		return e.Snapshot().MustRun()
	}
	m, ok := r.Machine().(driver.Pauser)
	if !ok {
		v := e.Record()
		return api.Errorf(api.KindUnsupported, "cannot pause VM %s: its driver, %s, cannot", v.Name, v.Driver)
	}
	return do(m)
}
