package snapshots

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/guest"
	"banger/internal/guest/agentproto"
	"banger/internal/host/fsx"
	"banger/internal/op"
	"banger/internal/vm/disks"
	"banger/internal/vm/instance"
	"banger/internal/vm/records"
	"banger/internal/vm/suspend"
)

// Snapshotter makes snapshots of VMs that run. Everything in the guest but its agent and its init is frozen
// before, and thaws in the VM afterwards. In a VM that begins with the snapshot it thaws once that is
// another VM (docs/adr/0038).
type Snapshotter struct{ Options }

// Options configure a Snapshotter.
type Options struct {
	suspend.Operations
	Store  Store
	Disks  *disks.Disks
	Logger *slog.Logger
}

// params are the parameters of an operation.
type params struct {
	ID string `json:"id"`
	api.SnapshotVM
}

// thawTime bounds the wait for the agent of a VM that goes on. The agent thaws on its own after a minute.
const thawTime = 10 * time.Second

// Snapshot makes a snapshot of a running VM, which goes on.
func (s *Snapshotter) Snapshot(ctx context.Context, ref string, req api.SnapshotVM) (*op.Op, error) {
	if req.Temporary && req.Name != "" {
		return nil, api.Errorf(api.KindInvalid, "a temporary snapshot has no name")
	}
	if req.Name != "" {
		if err := s.Store.checkName(req.Name); err != nil {
			return nil, err
		}
	}
	if err := s.Store.sweep(); err != nil {
		s.Logger.Error("cannot remove temporary snapshots", "error", err)
	}
	e, err := s.Table.Claim(ref, records.KindSnapshot, canSnapshot)
	if err != nil {
		return nil, err
	}
	p := params{ID: op.NewID(), SnapshotVM: req}
	if p.Name == "" && !p.Temporary {
		p.Name = s.freeName(e.Record().Name)
	}
	plan, err := s.plan(e, p)
	if err != nil {
		e.Release()
		return nil, err
	}
	return s.Launch(ctx, e, plan)
}

// freeName makes up a name: that of the VM with the time.
func (s *Snapshotter) freeName(vm string) string {
	const most = 63 // of a DNS label
	stamp := time.Now().UTC().Format("-20060102-150405")
	name := vm[:min(len(vm), most-len(stamp))] + stamp
	if s.Store.checkName(name) != nil {
		name = vm[:min(len(vm), most-13)] + "-" + op.NewID()
	}
	return name
}

func canSnapshot(at records.Snapshot) error {
	if at.VM.State == api.StateSuspended {
		return api.Errorf(api.KindConflict, "VM %s is suspended", at.VM.Name).WithHint("banger vm start %s", at.VM.Name)
	}
	if err := at.Reachable(); err != nil {
		return err
	}
	_, err := saver(at.VM, at.Run.Machine())
	return err
}

func saver(v api.VM, m driver.Machine) (driver.Saver, error) {
	if m, ok := m.(driver.Saver); ok {
		return m, nil
	}
	return nil, api.Errorf(api.KindUnsupported, "cannot make a snapshot of VM %s: its driver, %s, cannot save the memory here", v.Name, v.Driver).
		WithHint("banger vm stop %[1]s, then: banger vm commit %[1]s IMAGE   keeps its disk as an image", v.Name)
}

func (s *Snapshotter) plan(e *records.Entry, p params) (op.Plan, error) {
	plan := s.Plan(e, records.KindSnapshot, []op.Step{{
		Name: "snapshot",
		Do:   func(ctx context.Context, report api.Report) error { return s.make(ctx, e, p, report) },
		Undo: func(ctx context.Context) error { return errors.Join(s.goOn(ctx, e, p.ID), s.Store.Remove(p.ID)) },
	}})
	plan.Result = func(*op.Op) *api.Result {
		m, err := s.Store.Find(p.ID)
		if err != nil {
			return nil
		}
		return &api.Result{Snapshot: &m.Snapshot}
	}
	data, err := json.Marshal(p)
	plan.Params = string(data)
	return plan, err
}

// Again is the plan of an operation of an earlier daemon, with its parameters.
func (s *Snapshotter) Again(e *records.Entry, text string) (op.Plan, error) {
	var p params
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return op.Plan{}, err
	}
	return s.plan(e, p)
}

// make makes a snapshot, unless an earlier daemon has made it.
func (s *Snapshotter) make(ctx context.Context, e *records.Entry, p params, report api.Report) error {
	v, r := e.Record(), e.Run()
	if _, err := s.Store.read(p.ID); err == nil {
		return s.goOn(ctx, e, p.ID)
	}
	if r == nil {
		return api.Errorf(api.KindConflict, "cannot make a snapshot of VM %s: it has ended meanwhile (%s)", v.Name, v.Reason)
	}
	m, err := saver(v, r.Machine())
	if err != nil {
		return err
	}
	if err := suspend.Resume(ctx, e); err != nil { // an earlier daemon may have left it standing
		return err
	}
	report(api.Progress{Step: "freeze", Message: "freezing the guest"})
	agent := guest.Client{Dial: r.Open}
	if _, err := agent.Freeze(ctx, p.ID); err != nil {
		return api.Errorf(api.KindOf(err), "cannot freeze the guest of VM %s: %w", v.Name, err)
	}
	dir, err := s.Store.begin(p.ID)
	if err != nil {
		return fsx.DiskError("make a snapshot of VM "+v.Name, err)
	}
	report(api.Progress{Step: "snapshot", Message: "saving the memory"})
	manifest, began := manifestOf(p, v), time.Now()
	if err = m.Save(ctx, filepath.Join(dir, machineDir)); err == nil {
		err = s.Disks.Clone(ctx, v, filepath.Join(dir, diskFile))
	}
	if err != nil {
		return fsx.DiskError("make a snapshot of VM "+v.Name, err)
	}
	if err := s.goOn(ctx, e, p.ID); err != nil {
		return err
	}
	manifest.PausedMilliseconds = time.Since(began).Milliseconds()
	return fsx.DiskError("make a snapshot of VM "+v.Name, s.Store.commit(manifest))
}

// goOn lets the VM run that a snapshot was made of, and thaws its guest. An agent that does not answer
// thaws it on its own.
func (s *Snapshotter) goOn(ctx context.Context, e *records.Entry, attempt string) error {
	r := e.Run()
	if r == nil {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	if err := suspend.Resume(ctx, e); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, thawTime)
	defer cancel()
	agent := guest.Client{Dial: r.Open}
	if _, err := agent.Thaw(ctx, attempt); err != nil {
		s.Logger.Error("cannot thaw a guest after a snapshot", "vm", e.ID(), "error", err)
	}
	return nil
}

// List returns the snapshots, oldest first.
func (s *Snapshotter) List() ([]api.Snapshot, error) {
	all, err := s.Store.All()
	list := make([]api.Snapshot, 0, len(all))
	for _, m := range all {
		list = append(list, m.Snapshot)
	}
	return list, err
}

// Show returns a snapshot.
func (s *Snapshotter) Show(ref string) (api.Snapshot, error) {
	m, err := s.Store.Find(ref)
	return m.Snapshot, err
}

// Delete deletes a snapshot. VMs that began with it keep what they have.
func (s *Snapshotter) Delete(ref string) error {
	m, err := s.Store.Find(ref)
	if err != nil {
		return err
	}
	return s.Store.Remove(m.ID)
}

// Beginner makes what a VM begins with that begins with a snapshot.
type Beginner struct {
	Store Store
	Disks *disks.Disks
	// Saved returns the directory of a suspended VM's memory.
	Saved func(e *records.Entry) string
}

// Begin gives a new VM the disk and the memory of its snapshot. From then on it is suspended.
func (b *Beginner) Begin(ctx context.Context, e *records.Entry) error {
	v := e.Record()
	if v.State != api.StateCreating { // an earlier daemon has done this
		return nil
	}
	m, err := b.Store.Find(v.Origin.Snapshot)
	if err != nil {
		return err
	}
	if err := b.Disks.Copy(ctx, v, b.Store.Disk(m.ID)); err != nil {
		return err
	}
	if err := fsx.DiskError("copy snapshot "+m.ID, linkAll(b.Store.Machine(m.ID), b.Saved(e))); err != nil {
		return err
	}
	return e.Update(ctx, func(v *api.VM) {
		now := time.Now()
		v.State, v.Reason, v.StoppedAt = api.StateSuspended, "it begins with a snapshot of VM "+m.VM, &now
	})
}

// linkAll makes a directory whose files are those of another one: they are only read. It is durable when linkAll
// returns.
func linkAll(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(to), os.Mkdir(to, 0o700)); err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.Link(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return errors.Join(fsx.SyncDir(to), fsx.SyncDir(filepath.Dir(to)))
}

// Changed says why the guest of a VM that began with a snapshot has not become another one than that, or
// returns nil with what was done: then its programs run, with random numbers of their own.
func Changed(v api.VM, r *instance.Instance) (steps []api.OriginStep, err error) {
	now, done := r.Incarnation()
	switch {
	case now == nil || now.Generation != v.Generation || done == nil:
		return nil, errors.New("its agent does not say that it has become another VM")
	case !done.Frozen:
		return nil, errors.New("its programs have run before it was another VM")
	case !done.Running || !done.Confirmed(agentproto.StepRandom):
		err = errors.New("it has no random numbers of its own")
	}
	for _, s := range done.Steps {
		steps = append(steps, api.OriginStep{Name: s.Name, State: string(s.State), Detail: s.Detail})
	}
	return steps, err
}
