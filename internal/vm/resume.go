package vm

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"banger/api"
	"banger/internal/op"
	"banger/internal/vm/ports"
	"banger/internal/vm/records"
	"banger/internal/vm/snapshots"
	"banger/internal/vm/suspend"
	"banger/internal/vm/tasks"
)

// resumer continues or ends the operations that an earlier daemon has left.
type resumer struct {
	outcomeOf func(left op.Unfinished) (result *api.Result, ok bool) // Options.Outcome
	again     func(left op.Unfinished) (plan op.Plan, ok bool)       // Options.Again
	logger    *slog.Logger
	tasks     *tasks.Group
	table     *records.Table
	ports     *ports.Ports
	ops       *operations
	creator   *Creator
	starter   *Starter
	stopper   *Stopper
	suspender *suspend.Suspender
	remover   *Remover
	changer   *Changer

	snapshotter *snapshots.Snapshotter
}

// resume continues an operation of an earlier daemon. An operation whose outcome is final is only
// ended. An operation on a VM that is still being recovered waits: otherwise it would treat a running
// machine as gone.
func (r *resumer) resume(u op.Unfinished) {
	r.logger.Info("taking up an operation", "operation", u.ID, "kind", u.Kind, "target", u.Target, "step", u.Step,
		"undoing", u.Undoing, "attempts", u.Attempts, "settled", u.Settled, "superseded", u.Superseded)
	if u.Kind == records.KindPrune { // its target is a list, of one VM or more: it claims each by itself
		r.ops.manager.Resume(r.remover.prunePlan(r.idleSince(strings.Split(u.Target, ","), u.StartedAt)), u)
		return
	}
	if result, err, stands := r.outcome(u); stands {
		plan := op.Plan{Kind: u.Kind, Target: u.Target, Result: func(*op.Op) *api.Result { return result }}
		r.ops.manager.Conclude(plan, u, err)
		return
	}
	plan := op.Plan{Kind: u.Kind, Target: u.Target, Steps: []op.Step{{Name: u.Step, Do: func(context.Context, api.Report) error {
		return interrupted(u)
	}}}}
	if r.again != nil {
		if again, ok := r.again(u); ok {
			plan = again
		}
	}
	e := r.table.TakeOver(u.Target, u.Kind)
	if e != nil {
		plan = r.planOf(e, u, plan)
		plan.Before = func(ctx context.Context) error { return e.AwaitRecovery(ctx) }
	}
	o := r.ops.manager.Resume(plan, u)
	if e != nil {
		e.SetOperation(o, u.Kind)
	}
}

// idleSince returns those of the listed VMs that nobody has started since: what a prune was asked to
// remove may be in use again.
func (r *resumer) idleSince(ids []string, since time.Time) []string {
	return slices.DeleteFunc(ids, func(id string) bool {
		e := r.table.ByID(id)
		if e == nil {
			return false
		}
		started := e.Record().StartedAt
		return started != nil && started.After(since)
	})
}

// interrupted returns the error of an operation that cannot be resumed and whose progress is
// unknown.
func interrupted(u op.Unfinished) error {
	return api.Errorf(api.KindInternal, "%s was interrupted by a restart of banger before it was done", api.ActionOf(u.Kind)).WithHint("try again")
}

// outcome returns the outcome of an operation of an earlier daemon, if it is known: from then on
// nothing of it may be done or undone (docs/adr/0017).
func (r *resumer) outcome(u op.Unfinished) (result *api.Result, err error, stands bool) {
	e := r.table.ByID(u.Target)
	if e == nil {
		return r.outcomeWithoutVM(u)
	}
	v, result := e.Record(), resultOf(e)
	creation := u.Kind == records.KindCreate || u.Kind == records.KindRun
	switch {
	case u.Kind == records.KindCommit:
		return r.changer.committed(u)
	case u.Settled == op.SettledDone:
		return result, nil, true
	case u.Settled == op.SettledFailed:
		return nil, notStarted(v), true
	case u.Superseded && (u.Kind == records.KindStop || u.Kind == records.KindKill): // another began when it had ended
		return result, nil, true
	case u.Superseded:
		return nil, api.Errorf(api.KindInternal, "the outcome of %s VM %s is unknown: its record was lost, and other operations have changed the VM since", api.ActionOf(u.Kind).Doing, v.Name).
			WithHint("banger vm show %s", v.Name), true
	case creation && !u.Undoing && v.State == api.StateFailed:
		return nil, notStarted(v), true
	case creation && v.Generation > 0: // it begins with a snapshot, and may be suspended on its way
	case creation && !u.Undoing && v.State != api.StateCreating: // of a banger that settled nothing
		return result, nil, true
	}
	return nil, nil, false
}

// outcomeWithoutVM is outcome for an operation that is not on a VM, or whose VM does not exist any
// more.
func (r *resumer) outcomeWithoutVM(u op.Unfinished) (result *api.Result, err error, stands bool) {
	switch u.Kind {
	case records.KindDelete:
		return nil, nil, true
	case records.KindCreate, records.KindRun:
		why := "was interrupted by a restart of banger"
		if u.Undoing {
			why = "did not succeed, and was being undone when banger was restarted"
		}
		return nil, api.Errorf(api.KindInternal, "%s %s; nothing is left of it", api.ActionOf(u.Kind), why).WithHint("try again"), true
	case records.KindStart, records.KindStop, records.KindRestart, records.KindKill, records.KindPause, records.KindResume,
		records.KindSuspend, records.KindSnapshot:
		return nil, api.Errorf(api.KindNotFound, "%s was interrupted by a restart of banger, and the VM was deleted", api.ActionOf(u.Kind)), true
	case records.KindCommit:
		return r.changer.committed(u)
	}
	if r.outcomeOf != nil {
		if result, ok := r.outcomeOf(u); ok {
			return result, nil, true
		}
	}
	return nil, nil, false
}

func notStarted(v api.VM) error {
	return api.Errorf(api.KindInternal, "cannot start VM %s: %s", v.Name, v.Reason).
		WithHint("the VM still exists: banger vm logs %[1]s; banger vm start %[1]s; banger vm delete %[1]s", v.Name)
}

// planOf builds the plan of an operation on one VM again. If the operation cannot be resumed, the
// VM is unlocked immediately.
func (r *resumer) planOf(e *records.Entry, u op.Unfinished, otherwise op.Plan) op.Plan {
	var plan op.Plan
	switch u.Kind {
	case records.KindCreate, records.KindRun:
		plan = r.creator.createPlan(e, u.Kind)
	case records.KindStart:
		plan = r.ops.plan(e, u.Kind, r.starter.startAgainSteps(e, u.Params))
	case records.KindStop:
		plan = r.ops.plan(e, u.Kind, r.stopper.stopSteps(e, r.deadlineOf(u)))
	case records.KindRestart:
		plan = r.ops.plan(e, u.Kind, r.stopper.restartSteps(e, r.deadlineOf(u)))
	case records.KindKill:
		plan = r.ops.plan(e, u.Kind, r.stopper.killAgainSteps(e, u.Params))
	case records.KindPause:
		plan = r.ops.plan(e, u.Kind, suspend.PauseSteps(e))
	case records.KindSuspend:
		plan = r.suspender.SuspendPlan(e)
	case records.KindSnapshot:
		again, err := r.snapshotter.Again(e, u.Params)
		if err != nil {
			e.Release()
			return otherwise
		}
		plan = again
	case records.KindResume:
		plan = r.ops.plan(e, u.Kind, suspend.ResumeSteps(e))
	case records.KindDelete:
		plan = r.ops.plan(e, u.Kind, r.remover.deleteSteps(e))
	default:
		e.Release()
		return otherwise
	}
	return r.reopening(e, plan)
}

// deadlineOf returns the time until which a guest may shut down after the request of an earlier
// daemon. Older versions did not record it.
func (r *resumer) deadlineOf(u op.Unfinished) time.Time {
	if u.Deadline != nil {
		return *u.Deadline
	}
	deadline, err := r.stopper.deadline(0)
	if err != nil {
		r.logger.Warn("cannot read the settings", "error", err)
	}
	return deadline
}

// reopening returns the plan of an earlier daemon's operation that reopens the VM's ports before it
// unlocks the VM.
func (r *resumer) reopening(e *records.Entry, plan op.Plan) op.Plan {
	ended := plan.Ended
	plan.Ended = func(o *op.Op) {
		r.ports.Reopen(r.tasks.Context(), e)
		ended(o)
	}
	return plan
}
