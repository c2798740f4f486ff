package vm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/op"
	"banger/internal/paths"
	"banger/internal/vm/machines"
	"banger/internal/vm/ports"
	"banger/internal/vm/records"
	"banger/internal/vm/tasks"
)

// Remover deletes VMs: on request, and those that are to be removed when they stop.
type Remover struct {
	paths    paths.Paths
	logger   *slog.Logger
	tasks    *tasks.Group
	table    *records.Table
	machines *machines.Machines
	ports    *ports.Ports
	host     *hostSide
	ops      *operations
	stopper  *Stopper

	mu       sync.Mutex              // taken before the table's
	removing map[*records.Entry]bool // autoRemove is at work on these
}

// Delete removes a VM and its disk permanently. It refuses a running VM unless force is set, which
// also overtakes operations that start or stop the VM. If autoRemove has begun the deletion, Delete
// returns that operation.
func (r *Remover) Delete(ctx context.Context, ref string, force bool) (*op.Op, error) {
	if force {
		if _, err := r.stopper.killUnidentified(ctx, ref); err != nil {
			return nil, err
		}
		id, _, err := r.ops.overtake(ctx, ref, records.KindDelete, records.KindCreate, records.KindRun, records.KindStart, records.KindRestart, records.KindStop)
		if err != nil {
			return nil, err
		}
		if r.table.ByID(id) == nil {
			return r.alreadyDeleted(ctx, id)
		}
		ref = id
	}
	if o, err := r.deletion(ctx, ref); o != nil || err != nil {
		return o, err
	}
	o, err := r.ops.startOn(ctx, ref, records.KindDelete, func(at records.Snapshot) error {
		if at.Run != nil && !force {
			return api.Errorf(api.KindConflict, "VM %s is running", at.VM.Name).
				WithHint("banger vm stop %[1]s, or: banger vm delete --force %[1]s", at.VM.Name)
		}
		if at.VM.State == api.StateSuspended && !force {
			return api.Errorf(api.KindConflict, "VM %s is suspended, and would lose its memory", at.VM.Name).
				WithHint("banger vm start %[1]s, or: banger vm delete --force %[1]s", at.VM.Name)
		}
		return nil
	}, func(e *records.Entry) op.Plan { return r.ops.plan(e, records.KindDelete, r.deleteSteps(e)) })
	if api.KindOf(err) == api.KindConflict {
		if other, _ := r.deletion(ctx, ref); other != nil { // it has begun in the meantime
			return other, nil
		}
	}
	return o, err
}

// deletion returns the deletion by autoRemove that is in progress on a VM, or nil.
func (r *Remover) deletion(ctx context.Context, ref string) (*op.Op, error) {
	e, err := r.table.Find(ref)
	if err != nil || !r.isRemoving(e) {
		return nil, err
	}
	o, _, err := r.ops.atWork(ctx, e, []string{records.KindDelete})
	return o, err
}

// alreadyDeleted returns a deletion for a VM that the undo of its start has removed.
func (r *Remover) alreadyDeleted(ctx context.Context, id string) (*op.Op, error) {
	nothing := func(context.Context, api.Report) error { return nil }
	return r.ops.manager.Start(ctx, op.Plan{Kind: records.KindDelete, Target: id, Steps: []op.Step{{Name: "record", Do: nothing}}})
}

// errNotStopped means that prune does not remove a VM.
var errNotStopped = errors.New("not stopped")

// deleteSteps end the VMM, remove the disk, then remove the record: until the last step a crash leaves
// a VM that can be deleted again.
func (r *Remover) deleteSteps(e *records.Entry) []op.Step {
	return slices.Concat([]op.Step{
		{Name: "kill", Stays: true, Do: func(ctx context.Context, _ api.Report) error {
			if err := r.machines.Find(ctx, e); err != nil {
				return err
			}
			if err := e.Kill(ctx, "deleted"); err != nil {
				return err
			}
			r.ports.Close(ctx, e.ID()) // a suspended VM has no VMM whose end does it
			return nil
		}},
	}, r.host.releaseSteps(e), []op.Step{
		{Name: "disk", Stays: true, Do: func(context.Context, api.Report) error {
			if err := os.RemoveAll(r.paths.VM(e.ID())); err != nil {
				return api.Errorf(api.KindInternal, "cannot remove the directory of VM %s: %w", e.Record().Name, err)
			}
			return nil
		}},
		{Name: "record", Stays: true, Do: func(ctx context.Context, _ api.Report) error { return e.Forget(ctx) }},
	})
}

// Prune deletes every VM that is stopped or failed.
func (r *Remover) Prune(ctx context.Context) (*op.Op, error) {
	var ids []string
	for _, at := range r.table.Snapshots() {
		if prunable(at) == nil {
			ids = append(ids, at.VM.ID)
		}
	}
	return r.ops.manager.Start(ctx, r.prunePlan(ids))
}

func prunable(at records.Snapshot) error {
	if at.Damaged() || at.Run != nil || at.Busy != "" || at.VM.State != api.StateStopped && at.VM.State != api.StateFailed {
		return errNotStopped
	}
	return nil
}

// prunePlan deletes the listed VMs if they are still stopped. Its target lists them, so that a later
// daemon deletes no others.
func (r *Remover) prunePlan(ids []string) op.Plan {
	pruned := api.Pruned{Removed: []string{}}
	remove := func(ctx context.Context, report api.Report) error {
		for i, id := range ids {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			e, err := r.table.Claim(id, records.KindPrune, prunable)
			if api.KindOf(err) == api.KindNotFound || errors.Is(err, errNotStopped) || api.KindOf(err) == api.KindConflict {
				continue
			}
			if err != nil {
				return err
			}
			name := e.Record().Name
			report(api.Progress{Step: "prune", Message: "removing " + name, Done: int64(i), Total: int64(len(ids))})
			size := fsx.Usage(r.paths.VM(id))
			err = r.removeAll(context.WithoutCancel(ctx), e) // half of it is of no use
			e.Release()
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
		Kind: records.KindPrune, Target: strings.Join(ids, ","), FreesSpace: true,
		Steps:  []op.Step{{Name: "prune", Do: remove, Undo: kept}},
		Result: func(*op.Op) *api.Result { return &api.Result{Pruned: &pruned} },
	}
}

func (r *Remover) removeAll(ctx context.Context, e *records.Entry) error {
	for _, step := range r.deleteSteps(e) {
		if err := step.Do(ctx, func(api.Progress) {}); err != nil {
			return err
		}
	}
	return nil
}
