package vm

import (
	"context"
	"slices"
	"time"

	"banger/api"
	"banger/internal/op"
	"banger/internal/vm/ports"
	"banger/internal/vm/records"
)

// resolveFrom is resolve for a VM that begins with a snapshot.
func (c *Creator) resolveFrom(ctx context.Context, req api.CreateVM) (api.VM, error) {
	m, err := c.beginner.Store.Find(req.From)
	if err != nil {
		return api.VM{}, err
	}
	if err := m.Check(req); err != nil {
		return api.VM{}, err
	}
	v := api.VM{
		ID: op.NewID(), Name: req.Name, State: api.StateCreating, Labels: req.Labels,
		AutoRemove: req.AutoRemove, Leased: req.Lease, CreatedAt: time.Now(),
	}
	m.Fill(&v)
	if err := checkRequested(v); err != nil {
		return v, err
	}
	if v.Publish, err = ports.Check(req.Publish); err != nil {
		return v, err
	}
	if req.Start {
		if err := c.ports.CheckFree(ctx, v.Publish); err != nil {
			return v, err
		}
	}
	_, err = c.machines.Driver(v.Driver)
	return v, err
}

// fromSteps create a VM that begins with a snapshot: it is suspended at first, and continues if it is started.
func (c *Creator) fromSteps(e *records.Entry, kind string) []op.Step {
	begin := op.Step{Name: "disk", Undo: c.undoCreate(e), Do: func(ctx context.Context, report api.Report) error {
		report(api.Progress{Step: "disk", Message: "copying the disk of the snapshot"})
		return c.beginner.Begin(ctx, e)
	}}
	if kind == records.KindRun {
		return slices.Concat([]op.Step{begin}, c.suspender.WakeSteps(e))
	}
	return []op.Step{begin, ready(e, api.StateSuspended)}
}
