package reconcile

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/vm/leaks"
	"banger/internal/vm/records"
)

// directory is the kind of a VM's directory, which only this package uses.
const directory = "directory"

// Leaks compares the host's objects with the known VMs, in both directions.
func (c *Inventory) Leaks(ctx context.Context) (api.Leaks, error) {
	before := c.lookedAt()
	objects, err := c.objectsToCompare(ctx)
	if err != nil {
		return api.Leaks{}, err
	}
	known := settled(before, c.lookedAt())
	found := api.Leaks{
		Leaks: []api.Leak{}, Compared: []string{leaks.Process, directory}, VMs: len(known), Objects: len(objects),
	}
	if c.Host != nil {
		found.Compared = append(leaks.HostKinds(), directory)
	} else {
		known = allChanging(known) // a VMM that ended is noticed at once: only strays are looked for
	}
	for _, f := range leaks.Compare(objects, known) {
		found.Leaks = append(found.Leaks, api.Leak{
			Kind: f.Kind, Name: f.Name, ID: f.ID, VM: c.nameOf(f.ID), Missing: f.Missing, Why: f.Why,
		})
	}
	for _, id := range c.Strays() {
		found.Objects++
		found.Leaks = append(found.Leaks, api.Leak{
			Kind: directory, Name: c.paths.VM(id), ID: id,
			Why: fmt.Sprintf("there is no VM %s; it stays because its disk may hold somebody's work", id),
		})
	}
	return found, nil
}

// lookedAt returns every VM in the form of package leaks.
func (c *Inventory) lookedAt() map[string]leaks.VM {
	all := map[string]leaks.VM{}
	for _, at := range c.table.Snapshots() {
		all[at.VM.ID] = leaks.VM{
			ID: at.VM.ID, State: expectedState(at), NoNetwork: at.VM.Network == api.NetworkNone,
			Snapshot: c.Host != nil && c.Host.Snapshot(at.VM),
		}
	}
	return all
}

// expectedState returns which objects the host may have for the VM.
func expectedState(at records.Snapshot) leaks.State {
	switch {
	case at.Busy != "":
		return leaks.Changing
	case at.Run == nil:
		return leaks.Stopped
	}
	select {
	case <-at.Run.Machine().Done(): // being released
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

func (c *Inventory) nameOf(id string) string {
	if e := c.table.ByID(id); e != nil {
		return e.Record().Name
	}
	return ""
}

// objectsToCompare returns the host's objects. In user mode these are processes, which are searched
// for if a directory has no VM.
func (c *Inventory) objectsToCompare(ctx context.Context) ([]leaks.Object, error) {
	if c.Host == nil {
		return c.strayProcesses(ctx)
	}
	held, err := c.Host.Objects(ctx)
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
func (c *Inventory) strayProcesses(ctx context.Context) ([]leaks.Object, error) {
	var all []leaks.Object
	for _, id := range c.Strays() {
		for _, d := range c.machines.Drivers {
			m, err := d.Recover(ctx, id, c.paths.VM(id), nil)
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
