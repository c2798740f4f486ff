package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/op"
)

// deleteSteps end the VMM, remove the disk, then remove the record: until the last step a crash leaves
// a VM that can be deleted again.
func (s *Service) deleteSteps(e *entry) []op.Step {
	return slices.Concat([]op.Step{
		{Name: "kill", Stays: true, Do: func(ctx context.Context, _ api.Report) error {
			if err := s.findRun(ctx, e); err != nil {
				return err
			}
			return s.killRun(ctx, e, "deleted")
		}},
	}, s.releaseSteps(e), []op.Step{
		{Name: "disk", Stays: true, Do: func(context.Context, api.Report) error {
			if err := os.RemoveAll(s.Paths.VM(e.id)); err != nil {
				return api.Errorf(api.KindInternal, "cannot remove the directory of VM %s: %w", s.get(e).Name, err)
			}
			return nil
		}},
		{Name: "record", Stays: true, Do: func(ctx context.Context, _ api.Report) error { return s.forget(ctx, e) }},
	})
}

// Prune deletes every VM that is stopped or failed.
func (s *Service) Prune(ctx context.Context) (*op.Op, error) {
	var ids []string
	for _, e := range s.stopped() {
		ids = append(ids, e.id)
	}
	return s.Ops.Start(ctx, s.prunePlan(ids))
}

func (s *Service) stopped() []*entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*entry
	for _, e := range s.vms {
		if prunable(e) == nil {
			all = append(all, e)
		}
	}
	return all
}

func prunable(e *entry) error {
	if e.damaged() || e.run != nil || e.busy != "" || e.vm.State != api.StateStopped && e.vm.State != api.StateFailed {
		return errNotStopped
	}
	return nil
}

// prunePlan deletes the listed VMs if they are still stopped. Its target lists them, so that a later
// daemon deletes no others.
func (s *Service) prunePlan(ids []string) op.Plan {
	pruned := api.Pruned{Removed: []string{}}
	remove := func(ctx context.Context, report api.Report) error {
		for i, id := range ids {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			e, err := s.begin(id, kindPrune, prunable)
			if api.KindOf(err) == api.KindNotFound || errors.Is(err, errNotStopped) || api.KindOf(err) == api.KindConflict {
				continue
			}
			if err != nil {
				return err
			}
			name := s.get(e).Name
			report(api.Progress{Step: "prune", Message: "removing " + name, Done: int64(i), Total: int64(len(ids))})
			size := fsx.Usage(s.Paths.VM(id))
			err = s.removeAll(context.WithoutCancel(ctx), e) // half of it is of no use
			s.release(e)
			if err != nil {
				return err
			}
			pruned.Removed = append(pruned.Removed, name)
			pruned.ReclaimedBytes += size
		}
		return nil
	}
	kept := func(context.Context) error {
		if len(pruned.Removed) == 0 {
			return nil
		}
		return op.Keep(fmt.Errorf("removed before: %s", strings.Join(pruned.Removed, ", ")))
	}
	return op.Plan{
		Kind: kindPrune, Target: strings.Join(ids, ","), FreesSpace: true,
		Steps:  []op.Step{{Name: "prune", Do: remove, Undo: kept}},
		Result: func(*op.Op) *api.Result { return &api.Result{Pruned: &pruned} },
	}
}

func (s *Service) removeAll(ctx context.Context, e *entry) error {
	for _, step := range s.deleteSteps(e) {
		if err := step.Do(ctx, func(api.Progress) {}); err != nil {
			return err
		}
	}
	return nil
}
