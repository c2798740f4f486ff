package suspend

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/guest"
	"banger/internal/host/fsx"
	"banger/internal/op"
	"banger/internal/paths"
	"banger/internal/vm/disks"
	"banger/internal/vm/instance"
	"banger/internal/vm/machines"
	"banger/internal/vm/ports"
	"banger/internal/vm/records"
	"banger/internal/vm/turns"
)

// Suspender writes the memory of VMs to the host's disk, and lets them continue from there. The record of
// a VM says which of the two counts: as long as it is api.StateSuspended the memory on the disk does, and
// whatever VMM there is has not run a single instruction since. So the memory is used once.
type Suspender struct{ Options }

// Options configure a Suspender.
type Options struct {
	Operations
	Paths    paths.Paths
	Turns    *turns.Turns
	Ports    *ports.Ports
	Disks    *disks.Disks
	Machines *machines.Machines
	Logger   *slog.Logger
	// Attach and Release are the steps that make and remove what the host holds for a VM that runs.
	Attach, Release func(e *records.Entry) []op.Step
	// Spec returns what the VMM of a VM is started with.
	Spec func(ctx context.Context, drv driver.Driver, e *records.Entry, report api.Report) (driver.Spec, error)
	// Changed says why a guest that began with a snapshot is not another one than that, or what made it so.
	Changed func(v api.VM, r *instance.Instance) ([]api.OriginStep, error)
	// Start starts a VM.
	Start func(ctx context.Context, ref string, req api.StartVM) (*op.Op, error)
}

// Suspend saves the memory of a running VM and ends its VMM. A suspended VM stays so.
func (s *Suspender) Suspend(ctx context.Context, ref string) (*op.Op, error) {
	return s.begin(ctx, ref, records.KindSuspend, canSuspend, s.SuspendPlan)
}

// SuspendIdle is Suspend for a VM that nobody uses, as still confirms by nil after new uses have begun to wait.
func (s *Suspender) SuspendIdle(ctx context.Context, ref string, still func(context.Context) error) (*op.Op, error) {
	return s.begin(ctx, ref, records.KindSuspend, canSuspend, func(e *records.Entry) op.Plan {
		return s.plan(e, func(ctx context.Context, report api.Report) error {
			if err := still(ctx); err != nil {
				return err
			}
			return s.save(e)(ctx, report)
		})
	})
}

// SuspendPlan suspends a VM. Once the memory is saved its VMM ends, even if that cannot be recorded.
func (s *Suspender) SuspendPlan(e *records.Entry) op.Plan { return s.plan(e, s.save(e)) }

func (s *Suspender) plan(e *records.Entry, save func(context.Context, api.Report) error) op.Plan {
	plan := s.Plan(e, records.KindSuspend, append([]op.Step{
		{Name: "save", Do: save, Undo: func(ctx context.Context) error { return s.unsave(ctx, e) }},
		{Name: "end", Stays: true, Do: func(ctx context.Context, _ api.Report) error { return e.Kill(ctx, "suspended") }},
	}, s.Release(e)...))
	plan.FreesSpace = true
	return plan
}

func canSuspend(at records.Snapshot) error {
	if at.VM.State == api.StateSuspended {
		return nil
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
	return nil, api.Errorf(api.KindUnsupported, "cannot suspend VM %s: its driver, %s, cannot save the memory here", v.Name, v.Driver).
		WithHint("banger vm pause %s   stops its processors, and keeps its memory", v.Name)
}

// Supports refuses a VM whose driver cannot suspend.
func (s *Suspender) Supports(v api.VM) error {
	_, _, err := s.restorer(v)
	if api.KindOf(err) == api.KindUnsupported {
		return api.Errorf(api.KindUnsupported, "VM %s cannot be suspended: its driver, %s, cannot save the memory here", v.Name, v.Driver)
	}
	return err
}

// restorer returns the driver of a VM, twice, and refuses one that cannot restore memory.
func (s *Suspender) restorer(v api.VM) (driver.Driver, driver.Restorer, error) {
	drv, err := s.Machines.Driver(v.Driver)
	if err != nil {
		return nil, nil, err
	}
	restorer, ok := drv.(driver.Restorer)
	if !ok {
		return nil, nil, api.Errorf(api.KindUnsupported, "cannot continue VM %s: its driver, %s, cannot restore memory here", v.Name, v.Driver).WithHint("%s", cold(v))
	}
	return drv, restorer, nil
}

// suspendedReason is the reason of a suspended VM's state.
const suspendedReason = "its memory is on the disk"

// save saves the memory beside its final place, and then records that it counts.
func (s *Suspender) save(e *records.Entry) func(context.Context, api.Report) error {
	return func(ctx context.Context, report api.Report) error {
		v, r := e.Record(), e.Run()
		if v.State == api.StateSuspended {
			return nil
		}
		if r == nil {
			return api.Errorf(api.KindConflict, "cannot suspend VM %s: it has ended meanwhile (%s)", v.Name, v.Reason)
		}
		m, err := saver(v, r.Machine())
		if err != nil {
			return err
		}
		report(api.Progress{Step: "save", Message: "saving the memory"})
		staging := s.Saved(e) + ".new"
		if err = errors.Join(os.RemoveAll(staging), os.Mkdir(staging, 0o700)); err == nil {
			err = m.Save(ctx, staging)
		}
		if err == nil {
			err = replaceDir(staging, s.Saved(e))
		}
		if err != nil {
			return fsx.DiskError("save the memory of VM "+v.Name, err)
		}
		return e.Update(ctx, func(v *api.VM) {
			now := time.Now()
			v.State, v.Reason, v.StoppedAt = api.StateSuspended, suspendedReason, &now
		})
	}
}

// replaceDir gives a directory the name of another, which is removed. Both are durable when it returns.
func replaceDir(from, to string) error {
	err := os.RemoveAll(to)
	if err == nil {
		err = os.Rename(from, to)
	}
	if err == nil {
		err = fsx.SyncDir(filepath.Dir(to))
	}
	return err
}

// Saved is the directory with a VM's memory, while it is suspended.
func (s *Suspender) Saved(e *records.Entry) string {
	return filepath.Join(s.Paths.VM(e.ID()), paths.VMSaved)
}

// unsave lets a VM run on whose VMM has not ended. Of one that has ended it leaves no memory on the disk,
// unless the VM is suspended already.
func (s *Suspender) unsave(ctx context.Context, e *records.Entry) error {
	if e.Run() == nil && e.Record().State == api.StateSuspended {
		return nil
	}
	if e.Run() == nil {
		return fsx.DiskError("remove the memory of VM "+e.Record().Name, errors.Join(os.RemoveAll(s.Saved(e)+".new"), os.RemoveAll(s.Saved(e))))
	}
	if err := s.consume(ctx, e); err != nil { // then the memory on the disk counts, and the VM stays suspended
		err = errors.Join(err, e.Kill(ctx, "suspended"))
		return op.Keep(api.Errorf(api.KindOf(err), "VM %s stays suspended: %w", e.Record().Name, err))
	}
	return errors.Join(os.RemoveAll(s.Saved(e)+".new"), Resume(ctx, e))
}

// consume makes sure that a VM's memory on the disk is not used again, before the VM continues.
func (s *Suspender) consume(ctx context.Context, e *records.Entry) error {
	if e.Record().State == api.StateSuspended {
		err := e.Update(ctx, func(v *api.VM) { v.State, v.Reason, v.StoppedAt = api.StatePaused, "it is about to continue", nil })
		if err != nil {
			return err
		}
	}
	if err := os.RemoveAll(s.Saved(e)); err != nil { // it takes room, and nothing else
		s.Logger.Error("cannot remove the memory of a VM that continues", "vm", e.ID(), "error", err)
	}
	return nil
}

// WakeSteps let a suspended VM continue, or one that an earlier daemon has begun to wake. It is undone
// until the memory on the disk is used up.
func (s *Suspender) WakeSteps(e *records.Entry) []op.Step {
	return slices.Concat([]op.Step{s.Turns.Step(e)}, s.Ports.Steps(e), s.Attach(e), []op.Step{
		{Name: "restore", Do: s.restore(e), Undo: func(ctx context.Context) error { return e.Kill(ctx, "its start was undone") }},
		{Name: "continue", Stays: true, Do: s.goOn(e)},
	})
}

// restore starts a VMM with the memory of the disk. It stands still.
func (s *Suspender) restore(e *records.Entry) func(context.Context, api.Report) error {
	return func(ctx context.Context, report api.Report) error {
		if e.Run() != nil {
			return nil
		}
		if err := s.Ports.Serve(ctx, e); err != nil { // again, for a start that is resumed here after a boot of the host
			return err
		}
		if err := s.Turns.Take(e)(ctx, report); err != nil {
			return err
		}
		v := e.Record()
		drv, restorer, err := s.restorer(v)
		if err != nil {
			return err
		}
		machine, err := s.Machines.Recover(ctx, drv, v.ID)
		if errors.Is(err, driver.ErrGone) {
			if _, err = s.Disks.Ready(ctx, e, report); err != nil {
				return err
			}
			report(api.Progress{Step: "restore", Message: "restoring the memory"})
			machine, err = s.load(ctx, drv, restorer, e, report)
		}
		if err != nil {
			return err
		}
		s.Machines.Adopt(e, machine)
		return e.Update(ctx, func(v *api.VM) { v.Accel = machine.Accel() })
	}
}

func (s *Suspender) load(ctx context.Context, drv driver.Driver, restorer driver.Restorer, e *records.Entry, report api.Report) (driver.Machine, error) {
	spec, err := s.Spec(ctx, drv, e, report)
	if err != nil {
		return nil, err
	}
	machine, err := restorer.Restore(ctx, spec, s.Saved(e))
	if err != nil && ctx.Err() == nil {
		v := e.Record()
		err = api.Errorf(api.KindOf(err), "cannot continue VM %s from its saved memory: %w", v.Name, err).WithHint("%s", cold(v))
	}
	return machine, err
}

// Judge says which suspended VMs can continue here and now, and for each other one why it cannot. It reads
// no memory, and takes the accelerator for the one that the VM had.
func (s *Suspender) Judge(ctx context.Context) (fit, stranded []string) {
	for _, at := range s.Table.Snapshots() {
		if at.VM.State != api.StateSuspended || at.Busy != "" {
			continue
		}
		if err := s.judge(ctx, at); err != nil {
			stranded = append(stranded, "VM "+at.VM.Name+" cannot continue: "+api.AsError(err).Message)
		} else {
			fit = append(fit, at.VM.Name)
		}
	}
	return fit, stranded
}

func (s *Suspender) judge(ctx context.Context, at records.Snapshot) error {
	v := at.VM
	_, restorer, err := s.restorer(v)
	if err != nil {
		return err
	}
	d, err := s.Disks.Driver(v.DiskDriver)
	if err != nil {
		return err
	}
	return restorer.Judge(ctx, driver.Spec{
		ID: v.ID, Dir: s.Paths.VM(v.ID), VCPUs: v.VCPUs, MemoryBytes: v.MemoryBytes, DiskFormat: d.Format(), Accel: v.Accel,
	}, s.Saved(at.Entry))
}

// cold says what starts a VM whose memory cannot be used.
func cold(v api.VM) string {
	return "banger vm start --cold " + v.Name + "   boots it from its disk, and drops its memory"
}

// goOn lets a restored VM run. From then on the memory on the disk is used up: whatever fails, the VM
// is not ended.
func (s *Suspender) goOn(e *records.Entry) func(context.Context, api.Report) error {
	return func(ctx context.Context, report api.Report) error {
		r, v := e.LastRun(), e.Record()
		if r == nil {
			return op.Keep(api.Errorf(api.KindConflict, "VM %s has ended", v.Name).WithHint("banger vm start %s", v.Name))
		}
		if err := s.consume(ctx, e); err != nil {
			return err
		}
		if err := withPauser(e, func(m driver.Pauser) error { return m.Resume(ctx) }); err != nil {
			return op.Keep(err)
		}
		s.Turns.Join(e)
		defer s.Turns.End(e)
		answer := time.NewTimer(guest.AnswerTime)
		defer answer.Stop()
		select {
		case <-r.Up():
		case <-answer.C:
			if isCopy(v) {
				return s.endCopy(ctx, e, errors.New("it does not answer"))
			}
			report(api.Progress{Step: api.StepNote, Message: "VM " + v.Name + " runs, and its guest has not answered yet"})
		case <-r.Gone():
			return op.Keep(api.Errorf(api.KindInternal, "VM %s ended when it continued: %s", v.Name, e.Record().Reason).WithHint("banger vm logs %[1]s; banger vm start %[1]s", v.Name))
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := s.confirm(ctx, e, r); err != nil {
			return err
		}
		return e.Woken(ctx, r)
	}
}

// confirm ends a VM that began with a snapshot if its guest is not another one than that. It would
// use the same random numbers.
func (s *Suspender) confirm(ctx context.Context, e *records.Entry, r *instance.Instance) error {
	v := e.Record()
	if !isCopy(v) {
		return nil
	}
	steps, err := s.Changed(v, r)
	if err != nil {
		return s.endCopy(ctx, e, err)
	}
	return e.Update(ctx, func(v *api.VM) {
		of := *v.Origin
		of.Steps = steps
		v.Origin = &of
	})
}

// isCopy reports whether a VM began with a snapshot and has not become another VM yet.
func isCopy(v api.VM) bool { return v.Generation > 0 && v.Origin != nil && v.Origin.Steps == nil }

// endCopy ends a VM that must not run, and says why. Its memory is lost.
func (s *Suspender) endCopy(ctx context.Context, e *records.Entry, why error) error {
	v := e.Record()
	err := e.Kill(context.WithoutCancel(ctx), "its guest was a copy that had not become another VM")
	return op.Keep(errors.Join(api.Errorf(api.KindInternal, "cannot let VM %s continue beside the VM that it is a copy of: %w", v.Name, why).
		WithHint("banger vm start %[1]s   boots it from its disk; banger vm delete %[1]s", v.Name), err))
}

// DropStep makes a suspended VM a stopped one.
func (s *Suspender) DropStep(e *records.Entry) op.Step {
	return op.Step{Name: "drop", Stays: true, Do: func(ctx context.Context, _ api.Report) error {
		if e.Record().State == api.StateSuspended {
			err := e.Update(ctx, func(v *api.VM) { v.State, v.Reason = api.StateStopped, "its memory was dropped" })
			if err != nil {
				return err
			}
		}
		s.Ports.Ended(ctx, e)
		return fsx.DiskError("remove the memory of VM "+e.Record().Name, os.RemoveAll(s.Saved(e)))
	}}
}

// wakeAgain is the pause before another look at a VM that others work on, of which nothing tells the end.
const wakeAgain = 10 * time.Millisecond

// Wake starts a VM if it is suspended, and returns when it runs. Several at once start it once.
func (s *Suspender) Wake(ctx context.Context, ref string) error {
	e, err := s.Table.Find(ref)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		o, busy := e.Operation()
		if busy == "" {
			if e.Record().State != api.StateSuspended {
				return nil
			}
			o, err = s.Start(ctx, e.ID(), api.StartVM{})
			if err == nil {
				return o.Wait(ctx)
			}
			if api.KindOf(err) != api.KindConflict {
				return err
			}
		}
		if o == nil {
			select {
			case <-time.After(wakeAgain):
			case <-ctx.Done():
			}
			continue
		}
		select {
		case <-o.Done():
		case <-ctx.Done():
		}
	}
	return context.Cause(ctx)
}
