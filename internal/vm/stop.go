package vm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/op"
)

// Stop shuts a VM down: the agent is asked, and after the grace time the VMM is
// killed. A VM that does not run is refused.
func (s *Service) Stop(ctx context.Context, ref string, req api.StopVM) (*op.Op, error) {
	if req.GraceSeconds < 0 {
		return nil, api.Errorf(api.KindInvalid, "cannot wait for %d seconds", req.GraceSeconds)
	}
	grace := time.Duration(req.GraceSeconds) * time.Second
	return s.startOn(ctx, ref, kindStop, mustRun, func(e *entry) []op.Step {
		return s.stopSteps(e, grace)
	})
}

// Kill ends a VM's VMM at once, as pulling the plug would.
func (s *Service) Kill(ctx context.Context, ref string) (*op.Op, error) {
	ended, err := s.endUnproven(ctx, ref)
	if err != nil {
		return nil, err
	}
	if ended {
		return s.startOn(ctx, ref, kindKill, nil, s.unprovenSteps)
	}
	return s.startOn(ctx, ref, kindKill, mustRun, s.killSteps)
}

// Restart shuts a VM down if it runs, and starts it.
func (s *Service) Restart(ctx context.Context, ref string) (*op.Op, error) {
	return s.startOn(ctx, ref, kindRestart, nil, s.restartSteps)
}

func (s *Service) stopSteps(e *entry, grace time.Duration) []op.Step {
	return append([]op.Step{{Name: "shutdown", Do: s.shutdown(e, grace)}}, s.releaseSteps(e)...)
}

func (s *Service) killSteps(e *entry) []op.Step {
	return append([]op.Step{{Name: "kill", Do: func(ctx context.Context, _ api.Report) error {
		return s.killRun(ctx, e, "killed")
	}}}, s.releaseSteps(e)...)
}

func (s *Service) restartSteps(e *entry) []op.Step {
	return append([]op.Step{{Name: "shutdown", Do: s.shutdown(e, 0)}}, s.startSteps(e)...)
}

// startOn claims a VM and starts an operation on it.
func (s *Service) startOn(ctx context.Context, ref, kind string, check func(*entry) error, steps func(*entry) []op.Step) (*op.Op, error) {
	e, err := s.begin(ref, kind, check)
	if err != nil {
		return nil, err
	}
	return s.launch(ctx, e, s.plan(e, kind, steps(e)))
}

func mustRun(e *entry) error {
	if e.run == nil {
		return api.Errorf(api.KindConflict, "VM %s is not running (%s)", e.vm.Name, e.vm.State).WithHint("banger vm start %s", e.vm.Name)
	}
	return nil
}

// shutdown asks the guest to power off and kills the VMM when it has not ended
// in time. Grace 0 means the default.
func (s *Service) shutdown(e *entry, grace time.Duration) func(context.Context, api.Report) error {
	return func(ctx context.Context, report api.Report) error {
		if grace == 0 {
			defaults, err := s.Defaults()
			if err != nil {
				return err
			}
			grace = defaults.Grace
		}
		r := s.runOf(e)
		if r == nil {
			return nil
		}
		r.setReason("stopped")
		report(api.Progress{Step: "shutdown", Message: "shutting down"})
		waitCtx, cancel := context.WithTimeout(ctx, grace)
		defer cancel()
		client := guest.Client{Dial: r.open}
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
		return s.killRun(ctx, e, fmt.Sprintf("killed: it did not shut down within %s", grace))
	}
}

// Delete removes a VM and its disk for good. A running one is refused unless
// force is set, which also cancels a start that is under way.
func (s *Service) Delete(ctx context.Context, ref string, force bool) (*op.Op, error) {
	if force {
		if _, err := s.endUnproven(ctx, ref); err != nil {
			return nil, err
		}
		if id, gone, err := s.abortStart(ctx, ref); gone || err != nil {
			return s.alreadyDeleted(ctx, id, err)
		}
	}
	return s.startOn(ctx, ref, KindDelete, func(e *entry) error {
		if e.run != nil && !force {
			return api.Errorf(api.KindConflict, "VM %s is running", e.vm.Name).
				WithHint("banger vm stop %[1]s, or: banger vm delete --force %[1]s", e.vm.Name)
		}
		return nil
	}, s.deleteSteps)
}

// abortStart cancels the creation or start of a VM, if one is under way, and
// waits until it is undone; the VM may be gone with it.
func (s *Service) abortStart(ctx context.Context, ref string) (id string, gone bool, err error) {
	s.mu.Lock()
	e, err := s.find(ref)
	if err != nil {
		s.mu.Unlock()
		return "", false, err
	}
	id, o := e.vm.ID, e.op
	starting := slices.Contains([]string{kindCreate, kindRun, kindStart, kindRestart}, e.busy)
	s.mu.Unlock()
	if o == nil || !starting {
		return id, false, nil
	}
	if err := s.Ops.Cancel(o.ID()); err != nil {
		return id, false, err
	}
	select {
	case <-o.Done():
	case <-ctx.Done():
		return id, false, context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return id, s.vms[id] == nil, nil
}

// alreadyDeleted is the deletion of a VM that the undoing of its start removed.
func (s *Service) alreadyDeleted(ctx context.Context, id string, err error) (*op.Op, error) {
	if err != nil {
		return nil, err
	}
	nothing := func(context.Context, api.Report) error { return nil }
	return s.Ops.Start(ctx, op.Plan{Kind: KindDelete, Target: id, Steps: []op.Step{{Name: "record", Do: nothing}}})
}

// Rename gives a VM a new name. The guest takes it as its host name at its next
// start.
func (s *Service) Rename(ctx context.Context, ref, name string) (api.VM, error) {
	if err := CheckName(name); err != nil {
		return api.VM{}, err
	}
	e, err := s.begin(ref, "vm.rename", nil)
	if err != nil {
		return api.VM{}, err
	}
	defer s.release(e)
	if err := s.update(ctx, e, func(v *api.VM) { v.Name = name }); err != nil {
		return api.VM{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.view(), nil
}

// errNotStopped says that a VM is not one that prune removes.
var errNotStopped = errors.New("not stopped")
