package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/op"
)

// Stop shuts a VM down: it asks the agent, and kills the VMM after the grace time. It refuses a VM
// that is not running.
func (s *Service) Stop(ctx context.Context, ref string, req api.StopVM) (*op.Op, error) {
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
	return s.startOn(ctx, ref, kindStop, mustRun, func(e *entry) op.Plan {
		plan := s.plan(e, kindStop, s.stopSteps(e, deadline))
		plan.Params, plan.Deadline = string(params), &deadline
		return plan
	})
}

// deadline returns the time at which a grace time that begins now is over; 0 means the setting.
func (s *Service) deadline(grace time.Duration) (time.Time, error) {
	if grace == 0 {
		defaults, err := s.Defaults()
		if err != nil {
			return time.Now(), err
		}
		grace = defaults.Grace
	}
	return time.Now().Add(grace), nil
}

// Kill ends a VM's VMM immediately, like a power cut. It overtakes operations that stop, start or
// restart the VM.
func (s *Service) Kill(ctx context.Context, ref string) (*op.Op, error) {
	ended, err := s.killUnidentified(ctx, ref)
	if err != nil {
		return nil, err
	}
	if ended {
		return s.startOn(ctx, ref, kindKill, nil, func(e *entry) op.Plan { return s.plan(e, kindKill, s.unidentifiedSteps(e)) })
	}
	id, overtook, err := s.overtake(ctx, ref, kindKill, kindStop, kindStart, kindRestart)
	if err != nil {
		return nil, err
	}
	check := mustRun
	if overtook {
		check = nil // it may be dead already
	}
	return s.startOn(ctx, id, kindKill, check, func(e *entry) op.Plan { return s.plan(e, kindKill, s.killSteps(e)) })
}

// Restart shuts a VM down if it runs, and starts it.
func (s *Service) Restart(ctx context.Context, ref string, req api.StartVM) (*op.Op, error) {
	deadline, err := s.deadline(0)
	if err != nil {
		return nil, err
	}
	return s.startOn(ctx, ref, kindRestart, func(e *entry) error {
		if e.run != nil { // it has its memory already
			return nil
		}
		return s.checkMemory(e.id, e.vm.Name, e.vm.MemoryBytes, req.Force)
	}, func(e *entry) op.Plan {
		plan := s.plan(e, kindRestart, s.restartSteps(e, deadline))
		plan.Deadline = &deadline
		return plan
	})
}

func (s *Service) stopSteps(e *entry, deadline time.Time) []op.Step {
	return append([]op.Step{s.shutdownStep(e, deadline)}, s.releaseSteps(e)...)
}

func (s *Service) killSteps(e *entry) []op.Step {
	return append([]op.Step{{Name: "kill", Stays: true, Do: func(ctx context.Context, _ api.Report) error {
		return s.killRun(ctx, e, "killed")
	}}}, s.releaseSteps(e)...)
}

func (s *Service) restartSteps(e *entry, deadline time.Time) []op.Step {
	return append([]op.Step{s.shutdownStep(e, deadline)}, s.startSteps(e)...)
}

// startOn claims a VM and starts an operation on it.
func (s *Service) startOn(ctx context.Context, ref, kind string, check func(*entry) error, plan func(*entry) op.Plan) (*op.Op, error) {
	e, err := s.begin(ref, kind, check)
	if err != nil {
		return nil, err
	}
	return s.launch(ctx, e, plan(e))
}

func mustRun(e *entry) error {
	if e.run == nil {
		return api.Errorf(api.KindConflict, "VM %s is not running (%s)", e.vm.Name, e.vm.State).WithHint("banger vm start %s", e.vm.Name)
	}
	return nil
}

// shutdownStep asks the guest to power off, and kills the VMM if it has not ended by the deadline.
func (s *Service) shutdownStep(e *entry, deadline time.Time) op.Step {
	return op.Step{
		Name: "shutdown",
		Do:   func(ctx context.Context, report api.Report) error { return s.shutdown(ctx, e, deadline, report) },
		// A guest's shutdown cannot be cancelled.
		Undo: func(context.Context) error {
			r, name := s.runOf(e), s.get(e).Name
			if r == nil || !r.asked.Load() {
				return nil
			}
			return op.Keep(api.Errorf(api.KindCanceled, "the guest was asked to shut down before the cancellation, and continues: VM %s stops when it has", name).
				WithHint("banger vm wait %[1]s, or: banger vm kill %[1]s", name))
		},
	}
}

func (s *Service) shutdown(ctx context.Context, e *entry, deadline time.Time, report api.Report) error {
	r := s.runOf(e)
	if r == nil {
		return nil
	}
	began := time.Now()
	if o := op.FromContext(ctx); o != nil {
		began = o.Snapshot().StartedAt // under an earlier daemon, perhaps
	}
	r.setFirstReason("stopped") // it may be being killed already
	report(api.Progress{Step: "shutdown", Message: "shutting down"})
	waitCtx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	client := guest.Client{Dial: r.open}
	r.asked.Store(true)
	err := client.Shutdown(waitCtx)
	if err == nil || api.KindOf(err) != api.KindTimeout {
		select {
		case <-r.gone:
			return nil
		case <-waitCtx.Done():
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return s.killRun(ctx, e, fmt.Sprintf("killed: it did not shut down within %s", deadline.Sub(began).Round(time.Millisecond)))
}

// Delete removes a VM and its disk permanently. It refuses a running VM unless force is set, which
// also overtakes operations that start or stop the VM. If autoRemove has begun the deletion, Delete
// returns that operation.
func (s *Service) Delete(ctx context.Context, ref string, force bool) (*op.Op, error) {
	if force {
		if _, err := s.killUnidentified(ctx, ref); err != nil {
			return nil, err
		}
		id, _, err := s.overtake(ctx, ref, KindDelete, kindCreate, kindRun, kindStart, kindRestart, kindStop)
		if err != nil {
			return nil, err
		}
		if s.isGone(id) {
			return s.alreadyDeleted(ctx, id)
		}
		ref = id
	}
	if o, err := s.deletion(ctx, ref); o != nil || err != nil {
		return o, err
	}
	o, err := s.startOn(ctx, ref, KindDelete, func(e *entry) error {
		if e.run != nil && !force {
			return api.Errorf(api.KindConflict, "VM %s is running", e.vm.Name).
				WithHint("banger vm stop %[1]s, or: banger vm delete --force %[1]s", e.vm.Name)
		}
		return nil
	}, func(e *entry) op.Plan { return s.plan(e, KindDelete, s.deleteSteps(e)) })
	if api.KindOf(err) == api.KindConflict {
		if other, _ := s.deletion(ctx, ref); other != nil { // it has begun in the meantime
			return other, nil
		}
	}
	return o, err
}

// deletion returns the deletion by autoRemove that is in progress on a VM, or nil.
func (s *Service) deletion(ctx context.Context, ref string) (*op.Op, error) {
	s.mu.Lock()
	e, err := s.find(ref)
	own := err == nil && e.removing
	s.mu.Unlock()
	if err != nil || !own {
		return nil, err
	}
	o, _, err := s.atWork(ctx, e, []string{KindDelete})
	return o, err
}

func (s *Service) isGone(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.vms[id] == nil
}

// alreadyDeleted returns a deletion for a VM that the undo of its start has removed.
func (s *Service) alreadyDeleted(ctx context.Context, id string) (*op.Op, error) {
	nothing := func(context.Context, api.Report) error { return nil }
	return s.Ops.Start(ctx, op.Plan{Kind: KindDelete, Target: id, Steps: []op.Step{{Name: "record", Do: nothing}}})
}

// Rename gives a VM a new name. The guest gets it as its host name at its next start.
func (s *Service) Rename(ctx context.Context, ref, name string) (api.VM, error) {
	if err := CheckName(name); err != nil {
		return api.VM{}, err
	}
	e, err := s.begin(ref, "vm.rename", nil)
	if err != nil {
		return api.VM{}, err
	}
	defer s.release(e)
	return s.answered(ctx, e, func(v *api.VM) { v.Name = name })
}

// errNotStopped means that prune does not remove a VM.
var errNotStopped = errors.New("not stopped")
