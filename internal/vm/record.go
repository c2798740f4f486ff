package vm

import (
	"context"

	"banger/api"
	"banger/internal/op"
)

// update changes a VM's record, in the store first.
func (s *Service) update(ctx context.Context, e *entry, change func(v *api.VM)) error {
	e.row.Lock()
	defer e.row.Unlock()
	return s.write(ctx, e, op.Unsettled, change)
}

// conclude is update that also settles the operation whose step runs with ctx: from then on its
// outcome is final, even if its end cannot be recorded.
func (s *Service) conclude(ctx context.Context, e *entry, how op.Settled, change func(v *api.VM)) error {
	e.row.Lock()
	defer e.row.Unlock()
	return s.write(ctx, e, how, change)
}

// answered is update for a request that is not an operation: its client's answer, the VM,
// is recorded with the change.
func (s *Service) answered(ctx context.Context, e *entry, change func(v *api.VM)) (told api.VM, err error) {
	e.row.Lock()
	defer e.row.Unlock()
	err = s.writeWith(e, change, func(v api.VM) error {
		s.mu.Lock()
		told = (&entry{vm: v, run: e.run}).view()
		s.mu.Unlock()
		a := op.AnswerOf(ctx)
		if a == nil {
			return s.Store.PutVM(ctx, v)
		}
		answer, err := a.Of(told)
		if err == nil {
			err = s.Store.AnswerVM(ctx, v, a.Request, answer)
		}
		a.Kept = err == nil
		return err
	})
	return told, err
}

// write is update for a caller that holds e.row.
func (s *Service) write(ctx context.Context, e *entry, how op.Settled, change func(v *api.VM)) error {
	return s.writeWith(e, change, func(v api.VM) error {
		if o := op.FromContext(ctx); o != nil && how != op.Unsettled {
			return s.Store.SettleVM(ctx, v, o.ID(), how)
		}
		return s.Store.PutVM(ctx, v)
	})
}

// writeWith changes a VM in memory after put has recorded it. The caller holds e.row.
func (s *Service) writeWith(e *entry, change func(v *api.VM), put func(v api.VM) error) error {
	was := s.get(e)
	v := was
	change(&v)
	if !mayMove(was.State, v.State) {
		return api.Errorf(api.KindInternal, "VM %s cannot go from %s to %s", was.Name, was.State, v.State)
	}
	if err := put(v); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e.vm = v
	return nil
}

// note changes what is known of a VM even if the store cannot be written: it
// is for events that have happened anyway. The next daemon finds out itself.
func (s *Service) note(ctx context.Context, e *entry, change func(v *api.VM)) {
	e.row.Lock()
	defer e.row.Unlock()
	s.noteLocked(ctx, e, change)
}

// noteLocked is note for a caller that holds e.row.
func (s *Service) noteLocked(ctx context.Context, e *entry, change func(v *api.VM)) {
	err := s.write(ctx, e, op.Unsettled, change)
	if err == nil {
		return
	}
	s.Logger.Error("cannot record what became of a VM", "vm", e.id, "error", err)
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&e.vm)
}

// get returns a copy of e's record.
func (s *Service) get(e *entry) api.VM {
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.vm
}
