package records

import (
	"context"

	"banger/api"
	"banger/internal/op"
)

// Claim claims a VM for an operation: one at a time works on it. The check
// runs under the table's lock and may refuse; it may be nil.
func (t *Table) Claim(ref, kind string, check func(s Snapshot) error) (*Entry, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.claim(ref, kind, check)
}

// ClaimStart is Claim for an operation that starts the VM: unless the VM runs and needs no more memory
// than it has, or force is set, it refuses one for which there is not enough memory.
func (t *Table) ClaimStart(ref, kind string, force bool, check func(s Snapshot) error) (*Entry, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.claim(ref, kind, func(s Snapshot) error {
		if check != nil {
			if err := check(s); err != nil {
				return err
			}
		}
		asks := s.VM.AtNextStart().MemoryBytes
		if s.Run != nil && asks <= s.VM.MemoryBytes { // it has its memory already
			return nil
		}
		return t.checkMemory(s.VM.ID, s.VM.Name, asks, force)
	})
}

// claim is Claim for a caller that holds mu.
func (t *Table) claim(ref, kind string, check func(s Snapshot) error) (*Entry, error) {
	e, err := t.find(ref)
	if err != nil {
		return nil, err
	}
	if e.busy != "" {
		return nil, t.refuseBusy(e, kind)
	}
	if err := t.refuseDamaged(e, kind); err != nil {
		return nil, err
	}
	if check != nil {
		if err := check(e.snapshot()); err != nil {
			return nil, err
		}
	}
	e.busy = kind
	return e, nil
}

// TakeOver claims a VM for an operation of an earlier daemon. It returns nil if there is none or
// another operation works on it.
func (t *Table) TakeOver(id, kind string) *Entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.vms[id]
	if e == nil || e.busy != "" && e.busy != KindRecover {
		return nil
	}
	e.busy = kind
	return e
}

// refuseBusy returns the error of an operation on a VM that another one is working on. The
// caller holds mu.
func (t *Table) refuseBusy(e *Entry, kind string) error {
	err := api.Errorf(api.KindConflict, "cannot %s VM %s: it is busy (%s)", api.ActionOf(kind).Verb, e.vm.Name, api.ActionOf(e.busy).Doing)
	if e.busy == KindRecover && t.System {
		return err.WithHint("wait until that has ended, then try again; or: banger vm kill %s   (ends whatever runs for the VM)", e.vm.Name)
	}
	return err.WithHint("wait until that has ended, then try again")
}

// refuseDamaged refuses operations on a damaged VM except those that end it. The caller holds mu.
func (t *Table) refuseDamaged(e *Entry, kind string) error {
	if !e.damaged() || kind == KindDelete || kind == KindKill {
		return nil
	}
	return api.Errorf(api.KindConflict, "cannot %s VM %s: %s", api.ActionOf(kind).Verb, e.vm.Name, e.vm.Reason).
		WithHint("its disk is in %s; if nobody needs it: banger vm delete %s", t.Paths.VM(e.id), e.vm.Name)
}

// Release ends the claim of a VM.
func (e *Entry) Release() {
	e.table.mu.Lock()
	defer e.table.mu.Unlock()
	e.busy, e.op = "", nil
	if e.recovering() {
		e.busy = KindRecover
	}
}

// SetOperation records the operation for which the VM was claimed, if that claim, of that kind, has not
// ended.
func (e *Entry) SetOperation(o *op.Op, kind string) {
	e.table.mu.Lock()
	defer e.table.mu.Unlock()
	if e.busy == kind {
		e.op = o
	}
}

// Operation returns the kind of the VM's claim, "" for none, and its operation, which is nil until it
// is recorded.
func (e *Entry) Operation() (o *op.Op, kind string) {
	e.table.mu.Lock()
	defer e.table.mu.Unlock()
	return e.op, e.busy
}

// BeginRecovery claims a VM until it is known whether a machine runs for it.
func (e *Entry) BeginRecovery() {
	e.table.mu.Lock()
	defer e.table.mu.Unlock()
	e.busy, e.found = KindRecover, make(chan struct{})
}

// FinishRecovery lets other operations work on a VM that was being recovered.
func (e *Entry) FinishRecovery() {
	e.table.mu.Lock()
	defer e.table.mu.Unlock()
	close(e.found)
	if e.busy == KindRecover {
		e.busy = ""
	}
}

// AwaitRecovery waits until a VM is not being recovered any more.
func (e *Entry) AwaitRecovery(ctx context.Context) error {
	e.table.mu.Lock()
	found := e.found
	e.table.mu.Unlock()
	if found == nil {
		return nil
	}
	select {
	case <-found:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// recovering reports whether the VM is still being recovered. The caller holds the table's mu.
func (e *Entry) recovering() bool {
	if e.found == nil {
		return false
	}
	select {
	case <-e.found:
		return false
	default:
		return true
	}
}
