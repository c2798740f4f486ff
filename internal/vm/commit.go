package vm

import (
	"context"
	"encoding/json"

	"banger/api"
	"banger/internal/op"
	"banger/internal/vm/records"
)

// Commit creates an image from a stopped VM's disk. Until it is done, the VM can be neither started
// nor deleted.
func (c *Changer) Commit(ctx context.Context, ref string, req api.CommitVM) (*op.Op, error) {
	if err := c.images.CheckName(req.Name); err != nil {
		return nil, err
	}
	e, err := c.table.Claim(ref, records.KindCommit, committable)
	if err != nil {
		return nil, err
	}
	var made api.Image
	plan := c.ops.plan(e, records.KindCommit, []op.Step{{Name: "image", Do: func(ctx context.Context, report api.Report) (err error) {
		made, err = c.commit(ctx, e.Record(), req.Name, report)
		return err
	}}})
	plan.Result = func(*op.Op) *api.Result { return &api.Result{Image: &made} }
	params, err := json.Marshal(req)
	if err != nil {
		e.Release()
		return nil, err
	}
	plan.Params = string(params)
	return c.ops.launch(ctx, e, plan)
}

// committed returns the outcome of a commit of an earlier daemon: the image exists, or
// it does not, because its last step is one rename.
func (c *Changer) committed(u op.Unfinished) (*api.Result, error, bool) {
	var req api.CommitVM
	if json.Unmarshal([]byte(u.Params), &req) != nil {
		return nil, interrupted(u), true
	}
	image, err := c.images.Get(req.Name)
	if err != nil || image.CreatedAt.Before(u.StartedAt) {
		return nil, interrupted(u), true
	}
	return &api.Result{Image: &image}, nil, true
}

func committable(at records.Snapshot) error {
	name := at.VM.Name
	if at.Run != nil {
		return api.Errorf(api.KindConflict, "VM %s is running: its disk changes while it is read", name).WithHint("banger vm stop %s", name)
	}
	if at.VM.State == api.StateSuspended {
		return api.Errorf(api.KindConflict, "VM %s is suspended: its disk lacks what is still in its memory", name).
			WithHint("banger vm start %[1]s, then: banger vm stop %[1]s", name)
	}
	if at.VM.DiskDriver == "" {
		return api.Errorf(api.KindConflict, "VM %s has no disk yet", name).WithHint("banger vm start %s", name)
	}
	return nil
}

func (c *Changer) commit(ctx context.Context, v api.VM, name string, report api.Report) (api.Image, error) {
	put, err := c.disks.Flatten(ctx, v, report)
	if err != nil {
		return api.Image{}, err
	}
	image, err := c.images.Commit(ctx, name, v.ImageDigest, v.Name, report, func(ctx context.Context, to string) error {
		report(api.Progress{Step: "image", Message: "copying the disk of " + v.Name})
		return put(ctx, to)
	})
	if err != nil {
		return image, api.Errorf(api.KindOf(err), "cannot create an image from VM %s: %w", v.Name, err)
	}
	return image, nil
}
