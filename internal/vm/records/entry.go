package records

import (
	"context"
	"errors"
	"sync"
	"time"

	"banger/api"
	"banger/internal/op"
	"banger/internal/vm/instance"
)

// Entry is a VM in memory: its record in the store, its instance, and the operation in progress on it.
// Table.mu guards it.
type Entry struct {
	table *Table
	id    string     // never changes
	row   sync.Mutex // held while what is recorded changes; taken before Table.mu

	vm    api.VM
	fresh bool               // it is being recorded for the first time: nobody can ask for it yet
	busy  string             // kind of the operation that works on it, "" for none
	op    *op.Op             // that operation, once it is recorded
	run   *instance.Instance // nil while no VMM runs
	last  *instance.Instance // the newest run, also when it has ended

	found chan struct{} // closed when its machine is recovered; nil if that took no waiting
}

// ID returns the VM's id.
func (e *Entry) ID() string { return e.id }

// Record returns a copy of the VM's record.
func (e *Entry) Record() api.VM {
	e.table.mu.Lock()
	defer e.table.mu.Unlock()
	return e.vm
}

// View returns the VM in the form that clients see.
func (e *Entry) View() api.VM {
	e.table.mu.Lock()
	defer e.table.mu.Unlock()
	return e.view()
}

// view is View for a caller that holds the table's mu.
func (e *Entry) view() api.VM { return e.snapshot().View() }

// Update changes a VM's record, in the store first.
func (e *Entry) Update(ctx context.Context, change func(v *api.VM)) error {
	return e.Conclude(ctx, op.Unsettled, change)
}

// Conclude is Update that also settles the operation whose step runs with ctx: from then on its
// outcome is final, even if its end cannot be recorded.
func (e *Entry) Conclude(ctx context.Context, how op.Settled, change func(v *api.VM)) error {
	e.row.Lock()
	defer e.row.Unlock()
	return e.write(ctx, how, change)
}

// Answer is Update for a request that is not an operation: its client's answer, the VM,
// is recorded with the change.
func (e *Entry) Answer(ctx context.Context, change func(v *api.VM)) (told api.VM, err error) {
	e.row.Lock()
	defer e.row.Unlock()
	err = e.writeWith(change, func(v api.VM) error {
		told = v
		if r := e.Run(); r != nil {
			told = r.View(v)
		}
		a := op.AnswerOf(ctx)
		if a == nil {
			return e.table.Store.PutVM(ctx, v)
		}
		answer, err := a.Of(told)
		if err == nil {
			err = e.table.Store.AnswerVM(ctx, v, a.Request, answer)
		}
		a.Kept = err == nil
		return err
	})
	return told, err
}

// write is Conclude for a caller that holds row.
func (e *Entry) write(ctx context.Context, how op.Settled, change func(v *api.VM)) error {
	return e.writeWith(change, func(v api.VM) error {
		if o := op.FromContext(ctx); o != nil && how != op.Unsettled {
			return e.table.Store.SettleVM(ctx, v, o.ID(), how)
		}
		return e.table.Store.PutVM(ctx, v)
	})
}

// writeWith changes a VM in memory after put has recorded it. The caller holds row.
func (e *Entry) writeWith(change func(v *api.VM), put func(v api.VM) error) error {
	was := e.Record()
	v := was
	change(&v)
	if !mayMove(was.State, v.State) {
		return api.Errorf(api.KindInternal, "VM %s cannot go from %s to %s", was.Name, was.State, v.State)
	}
	v = settled(v)
	if err := put(v); err != nil {
		return err
	}
	e.table.mu.Lock()
	defer e.table.mu.Unlock()
	e.vm = v
	return nil
}

// Note changes what is known of a VM even if the store cannot be written: it
// is for events that have happened anyway. The next daemon finds out itself.
func (e *Entry) Note(ctx context.Context, change func(v *api.VM)) {
	e.row.Lock()
	defer e.row.Unlock()
	e.note(ctx, change)
}

// note is Note for a caller that holds row.
func (e *Entry) note(ctx context.Context, change func(v *api.VM)) {
	err := e.write(ctx, op.Unsettled, change)
	if err == nil {
		return
	}
	e.table.Logger.Error("cannot record what became of a VM", "vm", e.id, "error", err)
	e.table.mu.Lock()
	defer e.table.mu.Unlock()
	change(&e.vm)
	e.vm = settled(e.vm)
}

// settled gives a VM that does not run what it was to have at its next start. As each change of a
// record passes here, whatever ends a VM, its next start finds only one record of its sizes.
func settled(v api.VM) api.VM {
	if v.State == api.StateRunning || v.State == api.StatePaused || v.State == api.StateSuspended {
		return v
	}
	return v.AtNextStart()
}

// Forget removes a VM from the store and from memory.
func (e *Entry) Forget(ctx context.Context) error {
	e.row.Lock()
	defer e.row.Unlock()
	if err := e.table.Store.DeleteVM(ctx, e.id); err != nil {
		return err
	}
	e.table.drop(e)
	return nil
}

// ForgetCreation is Forget for a VM of which nothing was created. If it cannot be removed because
// the disk is full, the VM becomes failed, so that it can be deleted.
func (e *Entry) ForgetCreation(ctx context.Context) error {
	err := e.Forget(ctx)
	if err != nil {
		e.Note(ctx, func(v *api.VM) { v.State, v.Reason = api.StateFailed, "its creation could not be recorded" })
	}
	return err
}

// SetRun records that an instance of the VM runs.
func (e *Entry) SetRun(r *instance.Instance) {
	e.table.mu.Lock()
	defer e.table.mu.Unlock()
	e.run, e.last = r, r
}

// Run returns the VM's instance, nil when no VMM runs.
func (e *Entry) Run() *instance.Instance {
	e.table.mu.Lock()
	defer e.table.mu.Unlock()
	return e.run
}

// LastRun returns the VM's instance, even if it has just ended.
func (e *Entry) LastRun() *instance.Instance {
	e.table.mu.Lock()
	defer e.table.mu.Unlock()
	if e.run == nil {
		return e.last
	}
	return e.run
}

// Kill ends the VM's VMM, if one runs, and waits until that is recorded.
func (e *Entry) Kill(ctx context.Context, why string) error {
	if r := e.Run(); r != nil {
		return r.Kill(ctx, why)
	}
	return nil
}

// ErrEnded means that a guest has answered and is gone.
var ErrEnded = errors.New("the VMM has ended")

// Started records that a VM runs, if it does, and settles the operation of ctx: Ended cannot come
// between. Otherwise it returns ErrEnded.
func (e *Entry) Started(ctx context.Context, r *instance.Instance) error {
	e.row.Lock()
	defer e.row.Unlock()
	if e.Run() != r {
		return ErrEnded
	}
	now := time.Now()
	return e.write(ctx, op.SettledDone, func(v *api.VM) {
		v.State, v.Reason, v.StartedAt, v.StoppedAt = api.StateRunning, "", &now, nil
		v.BootID = r.BootID()
	})
}

// Woken records that a VM runs which was suspended, if it does, and settles the operation of ctx.
func (e *Entry) Woken(ctx context.Context, r *instance.Instance) error {
	e.row.Lock()
	defer e.row.Unlock()
	if e.Run() != r {
		return ErrEnded
	}
	return e.write(ctx, op.SettledDone, func(v *api.VM) {
		v.State, v.Reason, v.StoppedAt = api.StateRunning, "", nil
		if v.StartedAt == nil {
			now := time.Now()
			v.StartedAt = &now
		}
		if id := r.BootID(); id != "" {
			v.BootID = id
		}
	})
}

// Ended records that a VM does not run. It is one with forgetting its instance: Started looks for
// that.
func (e *Entry) Ended(ctx context.Context, after api.State, why string) {
	e.row.Lock()
	defer e.row.Unlock()
	if state := e.Record().State; state == api.StateRunning || state == api.StatePaused {
		now := time.Now()
		e.note(ctx, func(v *api.VM) {
			v.State, v.Reason, v.StoppedAt, v.BootID = after, why, &now, ""
		})
	}
	e.table.mu.Lock()
	defer e.table.mu.Unlock()
	e.run = nil
}

// damaged reports whether the VM's record cannot be read. The caller holds the table's mu.
func (e *Entry) damaged() bool { return e.snapshot().Damaged() }
