// Package reconcile finds out what an earlier daemon has left: which VMs run, which objects the host
// holds for them, and which operations are unfinished.
package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/op"
	"banger/internal/vm/machines"
	"banger/internal/vm/ports"
	"banger/internal/vm/records"
	"banger/internal/vm/tasks"
)

// Store has what an earlier daemon has recorded. internal/store implements it.
type Store interface {
	VMs(ctx context.Context) ([]api.VM, error)
	UnfinishedOperations(ctx context.Context) ([]op.Unfinished, error)
}

// Options configure a Recovery.
type Options struct {
	Store     Store
	Table     *records.Table
	Machines  *machines.Machines
	Ports     *ports.Ports
	Inventory *Inventory
	Tasks     *tasks.Group
	// Resume continues an operation of an earlier daemon.
	Resume func(left op.Unfinished)
	// AutoRemove removes a VM that is to be removed when it stops, and WatchLease one that is
	// leased and that no client holds.
	AutoRemove func(e *records.Entry)
	WatchLease func(e *records.Entry)
	Logger     *slog.Logger
}

// Recovery restores the state that the last daemon left.
type Recovery struct{ Options }

// New returns the recovery of a daemon.
func New(o Options) *Recovery { return &Recovery{o} }

// Recover restores the state that the last daemon left: it reads the
// store, finds every machine that still runs, records those that are gone, and
// resumes operations that were interrupted. It returns when all machines are
// known; operations continue in the background, including those that wait for others.
func (r *Recovery) Recover(ctx context.Context) error {
	all, err := r.Store.VMs(ctx)
	if err != nil {
		return err
	}
	mayRun, away := r.Inventory.mayRun(ctx)
	found, vanished := 0, 0
	for _, v := range all {
		e := r.Table.Load(v)
		alive, err := false, away
		if away == nil {
			alive, err = r.recoverOne(ctx, e, mayRun)
		}
		if unanswered(err) { // one wait for bangerd-root is enough for all
			away = err
		}
		if err != nil {
			r.Logger.Error("cannot recover a VM yet", "vm", v.ID, "error", err)
			r.recoverLater(e)
		}
		if alive {
			found++
		} else if v.State == api.StateRunning || v.State == api.StatePaused {
			vanished++
		}
	}
	left, err := r.Store.UnfinishedOperations(ctx)
	if err != nil {
		return err
	}
	strays := r.Ports.Recover(ctx, left)
	for _, u := range left {
		r.Resume(u)
	}
	r.Settle(ctx)
	removed := append(r.Inventory.sweep(ctx), strays...)
	// A forwarder that does not answer blocks only itself.
	r.Tasks.Go(func() { r.Ports.ReopenAll(r.Tasks.Context()) })
	for _, at := range r.Table.Snapshots() {
		r.AutoRemove(at.Entry)
		r.WatchLease(at.Entry)
	}
	r.Logger.Info("recovered", "vms", len(all), "running", found, "vanished", vanished, "operations", len(left),
		"strays", listed(r.Inventory.Strays()), "removed", listed(removed))
	return nil
}

func listed(ids []string) string { return strings.Join(ids, ",") }

// The reasons of VMs whose end the daemon missed. Older versions kept VMs that were to be removed,
// with the first reason.
const (
	VanishedReason  = "it was gone when banger came back"
	vanishedForGood = "it was gone when banger came back, and is to be removed"
)

// recoverOne finds the machine of one VM. If its driver cannot determine whether it runs, the VM stays
// unchanged and recoverOne returns an error.
func (r *Recovery) recoverOne(ctx context.Context, e *records.Entry, mayRun func(id string) bool) (alive bool, err error) {
	at := e.Snapshot()
	v := at.VM
	if at.Damaged() {
		return r.Machines.RecoverDamaged(ctx, e)
	}
	drv, err := r.Machines.Driver(v.Driver)
	if err != nil {
		r.Logger.Error("cannot recover a VM", "vm", v.ID, "error", err)
		return false, nil
	}
	var m driver.Machine
	err = driver.ErrGone
	if mayRun(v.ID) {
		m, err = r.Machines.Recover(ctx, drv, v.ID)
	}
	switch {
	case err == nil:
		r.Machines.Adopt(e, m)
		return true, nil
	case !errors.Is(err, driver.ErrGone):
		return false, err
	case v.State == api.StateRunning || v.State == api.StatePaused:
		now := time.Now()
		e.Note(ctx, func(v *api.VM) {
			v.State, v.Reason, v.StoppedAt, v.BootID = api.StateStopped, VanishedReason, &now, ""
			if v.AutoRemove {
				v.Reason = vanishedForGood
			}
		})
	}
	return false, nil
}

// recoverPause is the pause before another try to recover a VM whose state its driver could not
// determine, because bangerd-root did not answer.
const recoverPause = time.Second

// recoverLater retries the recovery of a VM's machine until its driver succeeds. No other
// operation works on the VM during that; operations of an earlier daemon wait.
func (r *Recovery) recoverLater(e *records.Entry) {
	e.BeginRecovery()
	ctx := r.Tasks.Context()
	r.Tasks.Go(func() {
		for {
			select {
			case <-time.After(recoverPause):
			case <-ctx.Done():
				return
			}
			alive, err := r.recoverOne(ctx, e, func(string) bool { return true })
			if err != nil {
				continue
			}
			r.Logger.Info("recovered a VM at last", "vm", e.ID(), "running", alive)
			if alive {
				r.Ports.Reopen(ctx, e)
			} else {
				r.Ports.Ended(ctx, e)
			}
			e.FinishRecovery()
			r.AutoRemove(e)
			return
		}
	})
}

// Settle corrects records that no operation will correct: of a VM that was being created when even
// the record of its operation was lost. It leaves a VM whose driver could not determine its state at
// first: its guest may be fine.
func (r *Recovery) Settle(ctx context.Context) {
	for _, at := range r.Table.Snapshots() {
		if !lost(at) {
			continue
		}
		err := at.Entry.Kill(ctx, "its start was interrupted")
		if at.Entry.Record().State == api.StateCreating {
			err = errors.Join(err, r.settleCreation(ctx, at.Entry))
		}
		if err != nil {
			r.Logger.Error("cannot settle a VM", "vm", at.VM.ID, "error", err)
		}
	}
}

// lost reports whether a VM's record is wrong, and no operation will correct it.
func lost(at records.Snapshot) bool {
	if at.Busy != "" || at.Late || at.Damaged() {
		return false
	}
	return at.VM.State == api.StateCreating || at.Run != nil && at.VM.State != api.StateRunning && at.VM.State != api.StatePaused
}

// settleCreation removes the record of a VM of which nothing was created: the daemon was killed before
// its operation was recorded. A VM with a directory becomes failed, and can be inspected.
func (r *Recovery) settleCreation(ctx context.Context, e *records.Entry) error {
	if !r.Inventory.hasDirectory(e.ID()) {
		return e.ForgetCreation(ctx)
	}
	return e.Update(ctx, func(v *api.VM) {
		v.State, v.Reason = api.StateFailed, "its creation was interrupted"
	})
}
