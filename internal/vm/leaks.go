package vm

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/vm/leaks"
)

// directory is the kind of a VM's directory, which only this package uses.
const directory = "directory"

// Leaks compares the host's objects with the known VMs, in both directions.
func (s *Service) Leaks(ctx context.Context) (api.Leaks, error) {
	before := s.lookedAt()
	objects, err := s.objectsToCompare(ctx)
	if err != nil {
		return api.Leaks{}, err
	}
	known := settled(before, s.lookedAt())
	found := api.Leaks{
		Leaks: []api.Leak{}, Compared: []string{leaks.Process, directory}, VMs: len(known), Objects: len(objects),
	}
	if s.Host != nil {
		found.Compared = append(leaks.HostKinds(), directory)
	} else {
		known = allChanging(known) // a VMM that ended is noticed at once: only strays are looked for
	}
	for _, f := range leaks.Compare(objects, known) {
		found.Leaks = append(found.Leaks, api.Leak{
			Kind: f.Kind, Name: f.Name, ID: f.ID, VM: s.nameOf(f.ID), Missing: f.Missing, Why: f.Why,
		})
	}
	for _, id := range s.Strays() {
		found.Objects++
		found.Leaks = append(found.Leaks, api.Leak{
			Kind: directory, Name: s.Paths.VM(id), ID: id,
			Why: fmt.Sprintf("there is no VM %s; it stays because its disk may hold somebody's work", id),
		})
	}
	return found, nil
}

// lookedAt returns every VM in the form of package leaks.
func (s *Service) lookedAt() map[string]leaks.VM {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]leaks.VM, len(s.vms))
	for id, e := range s.vms {
		all[id] = leaks.VM{
			ID: id, State: e.expectedState(), NoNetwork: e.vm.Network == api.NetworkNone,
			Snapshot: s.Host != nil && s.Host.Snapshot(e.vm),
		}
	}
	return all
}

// expectedState returns which objects the host may have for the VM. The caller holds mu.
func (e *entry) expectedState() leaks.State {
	switch {
	case e.busy != "":
		return leaks.Changing
	case e.run == nil:
		return leaks.Stopped
	}
	select {
	case <-e.run.machine.Done(): // being released
		return leaks.Changing
	default:
		return leaks.Running
	}
}

// settled returns the VMs that are the same in two reads: one that changed in between may have any
// objects.
func settled(before, after map[string]leaks.VM) []leaks.VM {
	var all []leaks.VM
	for id, v := range after {
		if was, ok := before[id]; !ok || was.State != v.State {
			v.State = leaks.Changing
		}
		all = append(all, v)
	}
	for id, v := range before {
		if _, ok := after[id]; !ok {
			v.State = leaks.Changing
			all = append(all, v)
		}
	}
	return all
}

func allChanging(vms []leaks.VM) []leaks.VM {
	for i := range vms {
		vms[i].State = leaks.Changing
	}
	return vms
}

func (s *Service) nameOf(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.vms[id]; e != nil {
		return e.vm.Name
	}
	return ""
}

// objectsToCompare returns the host's objects. In user mode these are processes, which are searched
// for if a directory has no VM.
func (s *Service) objectsToCompare(ctx context.Context) ([]leaks.Object, error) {
	if s.Host == nil {
		return s.strayProcesses(ctx)
	}
	held, err := s.Host.Objects(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]leaks.Object, 0, len(held))
	for _, o := range held {
		all = append(all, leaks.Object{Kind: o.Kind, Name: o.Name, ID: o.ID})
	}
	return all, nil
}

// strayProcesses finds VMMs that run for a directory that does not belong to a VM.
func (s *Service) strayProcesses(ctx context.Context) ([]leaks.Object, error) {
	var all []leaks.Object
	for _, id := range s.Strays() {
		for _, d := range s.Drivers {
			m, err := d.Recover(ctx, id, s.Paths.VM(id), nil)
			if errors.Is(err, driver.ErrGone) {
				continue
			}
			if err != nil {
				return nil, err
			}
			all = append(all, leaks.Object{Kind: leaks.Process, Name: strconv.Itoa(m.PID()), ID: id})
			m.Release()
		}
	}
	return all, nil
}
