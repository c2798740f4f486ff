package vm

import (
	"context"
	"slices"
	"time"

	"banger/api"
	"banger/internal/op"
	"banger/internal/vm/records"
)

// beginPause is the pause between two checks of an operation that is being recorded.
const beginPause = 10 * time.Millisecond

// beginTime is more than it takes to record an operation.
const beginTime = 10 * time.Second

// overtake ends the operation in progress on a VM, if it is one of those kinds, for the operation by,
// and waits until it is over; the VM may be removed by that. A stop is not cancelled: its guest is
// killed, which completes it.
func (x *operations) overtake(ctx context.Context, ref, by string, kinds ...string) (id string, overtook bool, err error) {
	e, err := x.table.Find(ref)
	if err != nil {
		return "", false, err
	}
	o, kind, err := x.atWork(ctx, e, kinds)
	if err != nil || o == nil {
		return e.ID(), kind != "", err
	}
	if kind == records.KindStop {
		err = e.Kill(ctx, endedBy(by))
	} else {
		x.manager.Overtake(o, by)
	}
	if err != nil {
		return e.ID(), true, err
	}
	select {
	case <-o.Done():
		return e.ID(), true, nil
	case <-ctx.Done():
		return e.ID(), true, context.Cause(ctx)
	}
}

// endedBy is the reason of a VM whose stop was overtaken.
func endedBy(kind string) string {
	if kind == records.KindDelete {
		return "deleted"
	}
	return "killed"
}

// atWork returns the operation in progress on a VM if it is one of those kinds. It waits for one that
// is being recorded. If kind is set without an operation, there was one.
func (x *operations) atWork(ctx context.Context, e *records.Entry, kinds []string) (o *op.Op, kind string, err error) {
	for giveUp := time.Now().Add(beginTime); ; {
		o, busy := e.Operation()
		if !slices.Contains(kinds, busy) {
			return nil, kind, nil
		}
		if kind = busy; o != nil {
			return o, kind, nil
		}
		if time.Now().After(giveUp) {
			return nil, kind, api.Errorf(api.KindTimeout, "cannot interrupt %s on VM %s: it is not recorded yet", api.ActionOf(kind).Doing, e.Record().Name)
		}
		select {
		case <-time.After(beginPause):
		case <-ctx.Done():
			return nil, kind, context.Cause(ctx)
		}
	}
}
