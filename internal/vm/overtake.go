package vm

import (
	"context"
	"slices"
	"time"

	"banger/api"
	"banger/internal/op"
)

// beginPause is the pause between two checks of an operation that is being recorded.
const beginPause = 10 * time.Millisecond

// beginTime is more than it takes to record an operation.
const beginTime = 10 * time.Second

// overtake ends the operation in progress on a VM, if it is one of those kinds, for the operation by,
// and waits until it is over; the VM may be removed by that. A stop is not cancelled: its guest is
// killed, which completes it.
func (s *Service) overtake(ctx context.Context, ref, by string, kinds ...string) (id string, overtook bool, err error) {
	s.mu.Lock()
	e, err := s.find(ref)
	s.mu.Unlock()
	if err != nil {
		return "", false, err
	}
	o, kind, err := s.atWork(ctx, e, kinds)
	if err != nil || o == nil {
		return e.id, kind != "", err
	}
	if kind == kindStop {
		err = s.killRun(ctx, e, endedBy(by))
	} else {
		s.Ops.Overtake(o, by)
	}
	if err != nil {
		return e.id, true, err
	}
	select {
	case <-o.Done():
		return e.id, true, nil
	case <-ctx.Done():
		return e.id, true, context.Cause(ctx)
	}
}

// endedBy is the reason of a VM whose stop was overtaken.
func endedBy(kind string) string {
	if kind == KindDelete {
		return "deleted"
	}
	return "killed"
}

// atWork returns the operation in progress on a VM if it is one of those kinds. It waits for one that
// is being recorded. If kind is set without an operation, there was one.
func (s *Service) atWork(ctx context.Context, e *entry, kinds []string) (o *op.Op, kind string, err error) {
	for giveUp := time.Now().Add(beginTime); ; {
		s.mu.Lock()
		o, busy := e.op, e.busy
		s.mu.Unlock()
		if !slices.Contains(kinds, busy) {
			return nil, kind, nil
		}
		if kind = busy; o != nil {
			return o, kind, nil
		}
		if time.Now().After(giveUp) {
			return nil, kind, api.Errorf(api.KindTimeout, "cannot interrupt %s on VM %s: it is not recorded yet", api.ActionOf(kind).Doing, s.get(e).Name)
		}
		select {
		case <-time.After(beginPause):
		case <-ctx.Done():
			return nil, kind, context.Cause(ctx)
		}
	}
}
