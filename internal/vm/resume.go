package vm

import (
	"context"
	"slices"
	"strings"
	"time"

	"banger/api"
	"banger/internal/op"
)

// resume continues an operation of an earlier daemon. An operation whose outcome is final is only
// ended. An operation on a VM that is still being recovered waits: otherwise it would treat a running
// machine as gone.
func (s *Service) resume(u op.Unfinished) {
	s.Logger.Info("taking up an operation", "operation", u.ID, "kind", u.Kind, "target", u.Target, "step", u.Step,
		"undoing", u.Undoing, "attempts", u.Attempts, "settled", u.Settled, "superseded", u.Superseded)
	if result, err, stands := s.outcome(u); stands && u.Kind != kindPrune {
		plan := op.Plan{Kind: u.Kind, Target: u.Target, Result: func(*op.Op) *api.Result { return result }}
		s.Ops.Conclude(plan, u, err)
		return
	}
	plan := op.Plan{Kind: u.Kind, Target: u.Target, Steps: []op.Step{{Name: u.Step, Do: func(context.Context, api.Report) error {
		return interrupted(u)
	}}}}
	if u.Kind == kindPrune { // its target is a list, of one VM or more: it claims each by itself
		s.Ops.Resume(s.prunePlan(s.idleSince(strings.Split(u.Target, ","), u.StartedAt)), u)
		return
	}
	if s.Again != nil {
		if again, ok := s.Again(u); ok {
			plan = again
		}
	}
	e := s.takeOver(u.Target, u.Kind)
	if e != nil {
		plan = s.planOf(e, u, plan)
		plan.Before = func(ctx context.Context) error { return s.awaitRecovery(ctx, e) }
	}
	o := s.Ops.Resume(plan, u)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e != nil && e.busy == u.Kind {
		e.op = o
	}
}

// idleSince returns those of the listed VMs that nobody has started since: what a prune was asked to
// remove may be in use again.
func (s *Service) idleSince(ids []string, since time.Time) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(ids, func(id string) bool {
		e := s.vms[id]
		return e != nil && e.vm.StartedAt != nil && e.vm.StartedAt.After(since)
	})
}

// interrupted returns the error of an operation that cannot be resumed and whose progress is
// unknown.
func interrupted(u op.Unfinished) error {
	return api.Errorf(api.KindInternal, "%s was interrupted by a restart of banger before it was done", api.ActionOf(u.Kind)).WithHint("try again")
}

// outcome returns the outcome of an operation of an earlier daemon, if it is known: from then on
// nothing of it may be done or undone (docs/adr/0017).
func (s *Service) outcome(u op.Unfinished) (result *api.Result, err error, stands bool) {
	s.mu.Lock()
	e := s.vms[u.Target]
	s.mu.Unlock()
	if e == nil {
		return s.outcomeWithoutVM(u)
	}
	v, result := s.get(e), s.resultOf(e)
	creation := u.Kind == kindCreate || u.Kind == kindRun
	switch {
	case u.Kind == kindCommit:
		return s.committed(u)
	case u.Settled == op.SettledDone:
		return result, nil, true
	case u.Settled == op.SettledFailed:
		return nil, notStarted(v), true
	case u.Superseded && (u.Kind == kindStop || u.Kind == kindKill): // another began when it had ended
		return result, nil, true
	case u.Superseded:
		return nil, api.Errorf(api.KindInternal, "the outcome of %s VM %s is unknown: its record was lost, and other operations have changed the VM since", api.ActionOf(u.Kind).Doing, v.Name).
			WithHint("banger vm show %s", v.Name), true
	case creation && !u.Undoing && v.State == api.StateFailed:
		return nil, notStarted(v), true
	case creation && !u.Undoing && v.State != api.StateCreating: // of a banger that settled nothing
		return result, nil, true
	}
	return nil, nil, false
}

// outcomeWithoutVM is outcome for an operation that is not on a VM, or whose VM does not exist any
// more.
func (s *Service) outcomeWithoutVM(u op.Unfinished) (result *api.Result, err error, stands bool) {
	switch u.Kind {
	case KindDelete:
		return nil, nil, true
	case kindCreate, kindRun:
		why := "was interrupted by a restart of banger"
		if u.Undoing {
			why = "did not succeed, and was being undone when banger was restarted"
		}
		return nil, api.Errorf(api.KindInternal, "%s %s; nothing is left of it", api.ActionOf(u.Kind), why).WithHint("try again"), true
	case kindStart, kindStop, kindRestart, kindKill:
		return nil, api.Errorf(api.KindNotFound, "%s was interrupted by a restart of banger, and the VM was deleted", api.ActionOf(u.Kind)), true
	case kindCommit:
		return s.committed(u)
	case kindPrune:
		return nil, nil, false
	}
	if s.Outcome != nil {
		if result, ok := s.Outcome(u); ok {
			return result, nil, true
		}
	}
	return nil, nil, false
}

func notStarted(v api.VM) error {
	return api.Errorf(api.KindInternal, "cannot start VM %s: %s", v.Name, v.Reason).
		WithHint("the VM still exists: banger vm logs %[1]s; banger vm start %[1]s; banger vm delete %[1]s", v.Name)
}

// takeOver claims a VM for an operation of an earlier daemon. It returns nil if there is none or
// another operation works on it.
func (s *Service) takeOver(id, kind string) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.vms[id]
	if e == nil || e.busy != "" && e.busy != kindRecover {
		return nil
	}
	e.busy = kind
	return e
}

// planOf builds the plan of an operation on one VM again. If the operation cannot be resumed, the
// VM is unlocked immediately.
func (s *Service) planOf(e *entry, u op.Unfinished, otherwise op.Plan) op.Plan {
	var plan op.Plan
	switch u.Kind {
	case kindCreate, kindRun:
		plan = s.createPlan(e, u.Kind)
	case kindStart:
		plan = s.plan(e, u.Kind, s.startSteps(e))
	case kindStop:
		plan = s.plan(e, u.Kind, s.stopSteps(e, s.deadlineOf(u)))
	case kindRestart:
		plan = s.plan(e, u.Kind, s.restartSteps(e, s.deadlineOf(u)))
	case kindKill:
		plan = s.plan(e, u.Kind, s.killSteps(e))
	case KindDelete:
		plan = s.plan(e, u.Kind, s.deleteSteps(e))
	default:
		s.release(e)
		return otherwise
	}
	return s.reopening(e, plan)
}

// deadlineOf returns the time until which a guest may shut down after the request of an earlier
// daemon. Older versions did not record it.
func (s *Service) deadlineOf(u op.Unfinished) time.Time {
	if u.Deadline != nil {
		return *u.Deadline
	}
	deadline, err := s.deadline(0)
	if err != nil {
		s.Logger.Warn("cannot read the settings", "error", err)
	}
	return deadline
}
