package vm

import (
	"context"
	"log/slog"
	"slices"

	"banger/api"
	"banger/internal/op"
	"banger/internal/vm/records"
	"banger/internal/vm/tasks"
	"banger/internal/vm/turns"
)

// operations starts operations on VMs, each of which has claimed its VM.
type operations struct {
	manager *op.Manager
	table   *records.Table
	turns   *turns.Turns
	parts   startParts
	tasks   *tasks.Group
	logger  *slog.Logger
	over    func(e *records.Entry) // called when an operation on a VM has ended
}

// startOn claims a VM and starts an operation on it.
func (x *operations) startOn(ctx context.Context, ref, kind string, check func(records.Snapshot) error, plan func(*records.Entry) op.Plan) (*op.Op, error) {
	e, err := x.table.Claim(ref, kind, check)
	if err != nil {
		return nil, err
	}
	return x.launch(ctx, e, plan(e))
}

// launch starts an operation on a VM that was claimed for it.
func (x *operations) launch(ctx context.Context, e *records.Entry, plan op.Plan) (*op.Op, error) {
	o, err := x.manager.Start(ctx, plan)
	if err != nil {
		return nil, err
	}
	e.SetOperation(o, plan.Kind)
	return o, nil
}

// plan wraps steps on one VM into a plan.
func (x *operations) plan(e *records.Entry, kind string, steps []op.Step) op.Plan {
	return op.Plan{
		Kind: kind, Target: e.ID(), Steps: steps,
		FreesSpace: op.Ends(kind),
		Ended: func(*op.Op) {
			x.turns.End(e)
			x.parts.forget(e)
			e.Release()
			x.over(e)
		},
		Result: func(o *op.Op) *api.Result {
			if starts(kind) {
				x.recordTiming(e, o)
			}
			return resultOf(e)
		},
	}
}

// starts reports whether an operation of a kind starts a VM, perhaps.
func starts(kind string) bool {
	return slices.Contains([]string{records.KindCreate, records.KindRun, records.KindStart, records.KindRestart}, kind)
}

// resultOf returns the result of an operation on a VM.
func resultOf(e *records.Entry) *api.Result {
	v := e.View()
	return &api.Result{VM: &v}
}

// recordTiming records how long the steps of a start took.
func (x *operations) recordTiming(e *records.Entry, o *op.Op) {
	if e.Record().State != api.StateRunning {
		return
	}
	timing := x.parts.addTo(e, turns.Without(o.Timing()))
	err := e.Update(context.WithoutCancel(x.tasks.Context()), func(v *api.VM) { v.Timing = timing })
	if err != nil {
		x.logger.Error("cannot record an operation's timing", "vm", e.ID(), "error", err)
	}
}
