package vm

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/op"
)

// Host creates and removes the host's objects of a running VM that only root may create. User mode has
// none. All methods are idempotent: removing an absent object succeeds.
type Host interface {
	// AttachDisk creates a block device for the VM's disk: base is the image's file, path the disk
	// driver's.
	AttachDisk(ctx context.Context, v api.VM, base, path string) error
	AttachNetwork(ctx context.Context, v api.VM) error
	// Kill ends whatever runs for a VM, even if it is not proven to be its VMM.
	Kill(ctx context.Context, id string) error
	// Release removes all objects of the host of a VM that is not running.
	Release(ctx context.Context, id string) error
	// Snapshot reports whether the VM's disk is attached as a device-mapper snapshot.
	Snapshot(v api.VM) bool
	// Address returns a running VM's address for the host, or "" if it is not running.
	Address(ctx context.Context, v api.VM) string
	// DiskUsage returns how full an attached disk is.
	DiskUsage(ctx context.Context, v api.VM) (*api.DiskUsage, error)
	// Objects lists the host's objects of all VMs.
	Objects(ctx context.Context) ([]api.HostObject, error)
}

// maxSlot is the last slot, and the number of user ids and addresses.
const maxSlot = 16383

// takeSlot gives a new VM the lowest free slot. The caller holds mu.
func (s *Service) takeSlot() (int, error) {
	if s.Host == nil {
		return 0, nil
	}
	taken := map[int]bool{}
	for _, e := range s.vms {
		taken[e.vm.Slot] = true
	}
	for slot := 1; slot <= maxSlot; slot++ {
		if !taken[slot] {
			return slot, nil
		}
	}
	return 0, api.Errorf(api.KindUnsupported, "there are already %d VMs, and no user id for another", len(s.vms)).
		WithHint("banger vm delete NAME, for a VM that nobody needs")
}

// hostSteps attach the objects that the VMM needs, before it starts. They are released when the VMM has
// ended, or by the first step's undo.
func (s *Service) hostSteps(e *entry) []op.Step {
	if s.Host == nil {
		return nil
	}
	id := s.get(e).ID
	return []op.Step{
		{Name: "attach", Do: s.attachDisk(e), Undo: func(ctx context.Context) error { return s.Host.Release(ctx, id) }},
		{Name: "network", Do: func(ctx context.Context, _ api.Report) error {
			if s.runOf(e) != nil {
				return nil
			}
			return s.Host.AttachNetwork(ctx, s.get(e))
		}},
	}
}

// releaseSteps release the objects of a VM that an operation has ended. The end of its VMM has
// released them already, unless the daemon was killed between the two.
func (s *Service) releaseSteps(e *entry) []op.Step {
	if s.Host == nil {
		return nil
	}
	return []op.Step{{Name: "release", Stays: true, Do: func(ctx context.Context, _ api.Report) error {
		v := s.get(e)
		if v.DiskDriver == "" { // it never had what is attached
			return nil
		}
		return s.Host.Release(ctx, v.ID)
	}}}
}

// findRun adopts an unknown VMM: bangerd-root started it and ended before it could report or end it.
func (s *Service) findRun(ctx context.Context, e *entry) error {
	v := s.get(e)
	if s.Host == nil || v.DiskDriver == "" || s.runOf(e) != nil {
		return nil
	}
	drv, err := s.driverOf(v.Driver)
	if err != nil {
		return nil // nobody knows how to look; bangerd-root releases nothing that runs
	}
	m, err := drv.Recover(ctx, v.ID, s.Paths.VM(v.ID), s.readHandle(v.ID))
	if err == nil {
		s.adopt(e, m)
	}
	if errors.Is(err, driver.ErrGone) {
		return nil
	}
	return err
}

func (s *Service) attachDisk(e *entry) func(context.Context, api.Report) error {
	return func(ctx context.Context, _ api.Report) error {
		if s.runOf(e) != nil {
			return nil
		}
		v := s.get(e)
		base, err := s.readyDisk(ctx, e)
		if err != nil {
			return err
		}
		return s.Host.AttachDisk(ctx, v, base, s.diskPath(v.ID))
	}
}

// releaseHost removes the host's objects of a VM that has ended. Objects that cannot be removed now
// are found at the next start of the VM or the daemon.
func (s *Service) releaseHost(ctx context.Context, id string) {
	if s.Host == nil {
		return
	}
	if err := s.Host.Release(ctx, id); err != nil {
		s.Logger.Error("cannot release what the host holds for a VM", "vm", id, "error", err)
	}
}

// sweep releases the host's objects of VMs that are not running, which a crash between two steps or a
// loss of power has left. It also removes objects that belong to no VM, unless there is a directory
// with a disk: then the store was lost.
func (s *Service) sweep(ctx context.Context) (removed []string) {
	if s.Host == nil {
		return nil
	}
	objects, err := s.Host.Objects(ctx)
	if err != nil {
		s.Logger.Error("cannot compare what the host holds with the store", "error", err)
		return nil
	}
	var ids []string
	for _, o := range objects {
		if o.ID != "" && s.mayRelease(o.ID) {
			ids = append(ids, o.ID)
		}
	}
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		if err := s.releaseStray(ctx, id); err != nil {
			s.Logger.Error("cannot remove a stray", "vm", id, "error", err)
			continue
		}
		removed = append(removed, id)
	}
	return removed
}

// mayRun returns a function that reports whether a VM may have a VMM. In user mode each VMM has the id
// in its command line. In system mode a VM without any object of the host has none: at least its jail
// would exist. One search for all VMs is cheaper than one for each. If the host cannot be asked, the
// error says so: then no VM can be recovered now.
func (s *Service) mayRun(ctx context.Context) (func(id string) bool, error) {
	all := func(string) bool { return true }
	if s.Host == nil {
		return s.survey(), nil
	}
	objects, err := s.Host.Objects(ctx)
	if unanswered(err) {
		return nil, err
	}
	if err != nil {
		s.Logger.Warn("cannot list what the host holds: each VM is looked for", "error", err)
		return all, nil
	}
	held := map[string]bool{}
	for _, o := range objects {
		held[o.ID] = true
	}
	return func(id string) bool { return held[id] }, nil
}

// survey is mayRun for drivers that support it.
func (s *Service) survey() func(id string) bool {
	all := map[string]bool{}
	for _, d := range s.Drivers {
		surveyor, can := d.(driver.Surveyor)
		if !can {
			return func(string) bool { return true }
		}
		some, err := surveyor.Survey()
		if err != nil {
			s.Logger.Warn("cannot look for all VMs at once: each is looked for", "driver", d.Name(), "error", err)
			return func(string) bool { return true }
		}
		maps.Copy(all, some)
	}
	return func(id string) bool { return all[id] }
}

// unanswered reports whether an error means that bangerd-root did not answer.
func unanswered(err error) bool { return api.KindOf(err) == api.KindTimeout }

func (s *Service) mayRelease(id string) bool {
	s.mu.Lock()
	e := s.vms[id]
	idle := e != nil && e.busy == "" && e.run == nil
	s.mu.Unlock()
	if e != nil {
		return idle
	}
	_, err := os.Lstat(s.Paths.VM(id))
	return errors.Is(err, os.ErrNotExist)
}

// releaseStray ends what may still run for an unknown VM, and releases its objects.
func (s *Service) releaseStray(ctx context.Context, id string) error {
	s.mu.Lock()
	known := s.vms[id] != nil
	s.mu.Unlock()
	if !known {
		for _, d := range s.Drivers {
			m, err := d.Recover(ctx, id, s.Paths.VM(id), nil)
			if err != nil {
				continue
			}
			s.Logger.Warn("ending a VMM that belongs to no VM", "vm", id, "pid", m.PID())
			err = m.Kill(ctx)
			m.Release()
			if err != nil {
				return err
			}
			break
		}
	}
	return s.Host.Release(ctx, id)
}

// Objects lists the host's objects of all VMs. It is empty in user mode.
func (s *Service) Objects(ctx context.Context) ([]api.HostObject, error) {
	if s.Host == nil {
		return nil, nil
	}
	return s.Host.Objects(ctx)
}

// recoverPause is the pause before another try to recover a VM whose state its driver could not
// determine, because bangerd-root did not answer.
const recoverPause = time.Second

// recoverLater retries the recovery of a VM's machine until its driver succeeds. No other
// operation works on the VM during that; operations of an earlier daemon wait.
func (s *Service) recoverLater(e *entry) {
	s.mu.Lock()
	e.busy, e.found = kindRecover, make(chan struct{})
	s.mu.Unlock()
	s.wg.Go(func() {
		for {
			select {
			case <-time.After(recoverPause):
			case <-s.ctx.Done():
				return
			}
			alive, err := s.recoverOne(s.ctx, e, func(string) bool { return true })
			if err != nil {
				continue
			}
			s.Logger.Info("recovered a VM at last", "vm", e.id, "running", alive)
			if alive {
				s.reopen(s.ctx, e)
			} else {
				s.closePorts(s.ctx, e.id)
			}
			s.finishRecovery(e)
			s.autoRemove(e)
			return
		}
	})
}

// kindRecover marks a VM that is still being recovered as busy.
const kindRecover = "vm.recover"

// recovering reports whether the VM is still being recovered. The caller holds mu.
func (e *entry) recovering() bool {
	if e.found == nil {
		return false
	}
	select {
	case <-e.found:
		return false
	default:
		return true
	}
}

// finishRecovery lets other operations work on a VM that was being recovered.
func (s *Service) finishRecovery(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(e.found)
	if e.busy == kindRecover {
		e.busy = ""
	}
}

// awaitRecovery waits until a VM is not being recovered any more.
func (s *Service) awaitRecovery(ctx context.Context, e *entry) error {
	s.mu.Lock()
	found := e.found
	s.mu.Unlock()
	if found == nil {
		return nil
	}
	select {
	case <-found:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func listed(ids []string) string { return strings.Join(ids, ",") }
