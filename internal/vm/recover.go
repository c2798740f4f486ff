package vm

import (
	"context"
	"errors"
	"os"
	"time"

	"banger/api"
	"banger/internal/driver"
)

// Recover restores the state that the last daemon left: it reads the
// store, finds every machine that still runs, records those that are gone, and
// resumes operations that were interrupted. It returns when all machines are
// known; operations continue in the background, including those that wait for others.
func (s *Service) Recover(ctx context.Context) error {
	all, err := s.Store.VMs(ctx)
	if err != nil {
		return err
	}
	mayRun, away := s.mayRun(ctx)
	found, vanished := 0, 0
	for _, v := range all {
		e := &entry{id: v.ID, vm: v}
		s.mu.Lock()
		s.vms[v.ID] = e
		s.mu.Unlock()
		alive, err := false, away
		if away == nil {
			alive, err = s.recoverOne(ctx, e, mayRun)
		}
		if unanswered(err) { // one wait for bangerd-root is enough for all
			away = err
		}
		if err != nil {
			s.Logger.Error("cannot recover a VM yet", "vm", v.ID, "error", err)
			s.recoverLater(e)
		}
		if alive {
			found++
		} else if v.State == api.StateRunning || v.State == api.StatePaused {
			vanished++
		}
	}
	left, err := s.Store.UnfinishedOperations(ctx)
	if err != nil {
		return err
	}
	strays := s.findPorts(ctx, left)
	for _, u := range left {
		s.resume(u)
	}
	s.settle(ctx)
	removed := append(s.sweep(ctx), strays...)
	// A forwarder that does not answer blocks only itself.
	s.wg.Go(func() { s.reopenPorts(s.ctx) })
	s.autoRemoveLeft()
	s.watchLeases()
	s.Logger.Info("recovered", "vms", len(all), "running", found, "vanished", vanished, "operations", len(left),
		"strays", listed(s.Strays()), "removed", listed(removed))
	return nil
}

// The reasons of VMs whose end the daemon missed. Older versions kept VMs that were to be removed,
// with the first reason.
const (
	vanishedReason  = "it was gone when banger came back"
	vanishedForGood = "it was gone when banger came back, and is to be removed"
)

// recoverOne finds the machine of one VM. If its driver cannot determine whether it runs, the VM stays
// unchanged and recoverOne returns an error.
func (s *Service) recoverOne(ctx context.Context, e *entry, mayRun func(id string) bool) (alive bool, err error) {
	v := e.vm
	if e.damaged() {
		return s.recoverDamaged(ctx, e)
	}
	drv, err := s.driverOf(v.Driver)
	if err != nil {
		s.Logger.Error("cannot recover a VM", "vm", v.ID, "error", err)
		return false, nil
	}
	var m driver.Machine
	err = driver.ErrGone
	if mayRun(v.ID) {
		m, err = drv.Recover(ctx, v.ID, s.Paths.VM(v.ID), s.readHandle(v.ID))
	}
	switch {
	case err == nil:
		s.adopt(e, m)
		return true, nil
	case !errors.Is(err, driver.ErrGone):
		return false, err
	case v.State == api.StateRunning || v.State == api.StatePaused:
		now := time.Now()
		s.note(ctx, e, func(v *api.VM) {
			v.State, v.Reason, v.StoppedAt, v.BootID = api.StateStopped, vanishedReason, &now, ""
			if v.AutoRemove {
				v.Reason = vanishedForGood
			}
		})
	}
	return false, nil
}

// settle corrects records that no operation will correct: of a VM that was being created when even
// the record of its operation was lost. It leaves a VM whose driver could not determine its state at
// first: its guest may be fine.
func (s *Service) settle(ctx context.Context) {
	s.mu.Lock()
	var lost []*entry
	for _, e := range s.vms {
		if e.busy == "" && e.found == nil && !e.damaged() && (e.vm.State == api.StateCreating || e.run != nil && e.vm.State != api.StateRunning && e.vm.State != api.StatePaused) {
			lost = append(lost, e)
		}
	}
	s.mu.Unlock()
	for _, e := range lost {
		err := s.killRun(ctx, e, "its start was interrupted")
		if s.get(e).State == api.StateCreating {
			err = errors.Join(err, s.settleCreation(ctx, e))
		}
		if err != nil {
			s.Logger.Error("cannot settle a VM", "vm", e.id, "error", err)
		}
	}
}

// settleCreation removes the record of a VM of which nothing was created: the daemon was killed before
// its operation was recorded. A VM with a directory becomes failed, and can be inspected.
func (s *Service) settleCreation(ctx context.Context, e *entry) error {
	if _, err := os.Lstat(s.Paths.VM(e.id)); errors.Is(err, os.ErrNotExist) {
		return s.forgetCreation(ctx, e)
	}
	return s.update(ctx, e, func(v *api.VM) {
		v.State, v.Reason = api.StateFailed, "its creation was interrupted"
	})
}

// Strays returns the names of directories that look like VMs' and belong to
// none. They are never removed automatically: a disk may hold somebody's work.
func (s *Service) Strays() []string {
	dirs, err := os.ReadDir(s.Paths.VMs())
	if err != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var strays []string
	for _, d := range dirs {
		if _, known := s.vms[d.Name()]; !known && idLike.MatchString(d.Name()) {
			strays = append(strays, d.Name())
		}
	}
	return strays
}
