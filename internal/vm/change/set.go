// Package change changes what VMs have: sizes, network, published ports, labels.
package change

import (
	"cmp"
	"context"
	"reflect"
	"time"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/faultpoint"
	"banger/internal/guest"
	"banger/internal/label"
	"banger/internal/size"
	"banger/internal/vm/instance"
	"banger/internal/vm/ports"
	"banger/internal/vm/records"
)

// Setter changes VMs that exist.
type Setter struct {
	Table *records.Table
	Ports *ports.Ports
	// Check refuses sizes that this host does not allow.
	Check func(v api.VM) error
	// CanSuspend refuses a VM that cannot be suspended.
	CanSuspend func(v api.VM) error
}

// Set changes a VM. What a running VM can only have from its next start on is recorded as that
// (records.settled), and a refused request changes nothing.
func (c *Setter) Set(ctx context.Context, ref string, req api.SetVM) (api.VM, error) {
	published, err := checkSet(req)
	if err != nil {
		return api.VM{}, err
	}
	notes := api.SetVM{Labels: req.Labels, RemoveLabels: req.RemoveLabels, IdleSuspendSeconds: req.IdleSuspendSeconds, Hold: req.Hold}
	if !req.Empty() && reflect.DeepEqual(req, notes) {
		return c.note(ctx, ref, req)
	}
	e, err := c.Table.Claim(ref, "vm.set", nil)
	if err != nil {
		return api.VM{}, err
	}
	defer e.Release()
	if req.Empty() {
		return e.View(), nil
	}
	r, v := e.Run(), e.Record()
	if err := c.checkIdle(v, req); err != nil {
		return api.VM{}, err
	}
	wants, err := wanted(v, req)
	if err != nil {
		return api.VM{}, err
	}
	sizes := wants
	sizes.DiskBytes = wants.DiskSize()
	if err := c.Check(sizes); err != nil {
		return api.VM{}, err
	}
	grows := r != nil && req.DiskBytes != nil && wants.DiskSize() > v.DiskSize()
	var told api.VM
	later := r != nil || v.State == api.StateSuspended // its memory has what it was started with
	change := func(to *api.VM) { *to = set(*to, wants, later, grows) }
	record := func() (err error) {
		if grows { // the answer follows
			return e.Update(ctx, change)
		}
		told, err = e.Answer(ctx, change)
		return err
	}
	if req.Publish == nil {
		err = record()
	} else {
		err = c.Ports.Replace(ctx, e, published, func(ports []api.PublishedPort) error {
			wants.Publish = ports
			return record()
		})
	}
	if err != nil || !grows {
		return told, err
	}
	return c.growRunning(ctx, e, r, wants.DiskSize())
}

// note changes labels and when the unused VM is suspended. It claims nothing, as no operation depends on
// these: a VM has them at any time, also while it starts or stops.
func (c *Setter) note(ctx context.Context, ref string, req api.SetVM) (api.VM, error) {
	at, err := c.Table.Look(ref)
	if err != nil {
		return api.VM{}, err
	}
	if at.Damaged() { // which only a claim explains
		e, err := c.Table.Claim(ref, "vm.set", nil)
		if err == nil {
			e.Release()
		}
		return at.View(), err
	}
	if err := c.checkIdle(at.VM, req); err != nil {
		return api.VM{}, err
	}
	if _, err := noted(at.VM, req); err != nil {
		return api.VM{}, err
	}
	var late error // others may have set labels since
	told, err := at.Entry.Answer(ctx, func(v *api.VM) {
		next, err := noted(*v, req)
		if late = err; err == nil {
			*v = next
		}
	})
	if err != nil && at.Entry.Snapshot().Forgotten {
		_, err = c.Table.Look(at.Entry.ID())
	}
	return told, cmp.Or(err, late)
}

// checkIdle refuses a time without use for a VM that cannot be suspended at all.
func (c *Setter) checkIdle(v api.VM, req api.SetVM) error {
	if req.IdleSuspendSeconds == nil || *req.IdleSuspendSeconds == 0 {
		return nil
	}
	return c.CanSuspend(v)
}

// noted returns a VM with what note changes.
func noted(v api.VM, req api.SetVM) (_ api.VM, err error) {
	if v.Labels, err = label.Apply(v.Labels, req.Labels, req.RemoveLabels); err != nil {
		return v, err
	}
	if req.IdleSuspendSeconds != nil {
		v.IdleSuspendSeconds = *req.IdleSuspendSeconds
	}
	switch h := req.Hold; {
	case h == nil:
	case h.Release:
		v.Hold = nil
	case h.Seconds == 0:
		v.Hold = &api.Hold{}
	default:
		until := time.Now().Add(time.Duration(h.Seconds) * time.Second)
		v.Hold = &api.Hold{Until: &until}
	}
	return v, nil
}

// maxSeconds bounds times that a VM is given, a hundred years: longer ones may overflow.
const maxSeconds = 100 * 366 * 24 * 60 * 60

// checkNotes refuses times that no VM can have.
func checkNotes(req api.SetVM) error {
	if s := req.IdleSuspendSeconds; s != nil && *s != 0 && (*s < api.MinIdleSuspend || *s > maxSeconds) {
		return api.Errorf(api.KindInvalid, "cannot suspend a VM after %d s without use: it is %d to %d s, or 0 for never", *s, api.MinIdleSuspend, maxSeconds)
	}
	switch h := req.Hold; {
	case h == nil:
	case h.Release && h.Seconds != 0:
		return api.Errorf(api.KindInvalid, "cannot release a hold and hold the VM for %d s", h.Seconds)
	case h.Seconds < 0 || h.Seconds > maxSeconds:
		return api.Errorf(api.KindInvalid, "cannot hold a VM for %d s: it is 1 to %d s, or 0 until it is released", h.Seconds, maxSeconds)
	}
	return nil
}

// checkSet refuses what no VM can have, and returns the ports to publish.
func checkSet(req api.SetVM) ([]api.PublishedPort, error) {
	if err := cmp.Or(label.Check(req.Labels), checkNotes(req)); err != nil {
		return nil, err
	}
	if n := req.Network; n != nil && *n != api.NetworkNAT && *n != api.NetworkIsolated && *n != api.NetworkNone {
		return nil, api.Errorf(api.KindInvalid, "unknown network %.40q", *n).WithHint("use one of: --network nat, --network isolated, --network none")
	}
	if req.Publish == nil {
		return nil, nil
	}
	return ports.Check(*req.Publish)
}

// wanted returns a VM as it is to be from its next start on.
func wanted(v api.VM, req api.SetVM) (api.VM, error) {
	v = v.AtNextStart()
	if req.VCPUs != nil {
		v.VCPUs = *req.VCPUs
	}
	if req.MemoryBytes != nil {
		v.MemoryBytes = *req.MemoryBytes
	}
	if req.Network != nil {
		v.Network = api.RecordedNetwork(*req.Network)
		if v.Network != "" && v.Tools != "" {
			return v, api.Errorf(api.KindInvalid, "cannot use network %s for VM %s: %s, which sets up its tools, would reach nothing", v.Network, v.Name, v.Tools)
		}
	}
	v, err := noted(v, req)
	if err != nil {
		return v, err
	}
	if req.DiskBytes != nil {
		err = growDisk(&v, *req.DiskBytes)
	}
	return v, err
}

// set returns a VM that is to be as wants: at its next start, as far as it runs and has something else.
// A disk that is about to grow has no reason yet why it has not.
func set(v, wants api.VM, runs, grows bool) api.VM {
	v.Labels, v.Publish, v.IdleSuspendSeconds, v.Hold = wants.Labels, wants.Publish, wants.IdleSuspendSeconds, wants.Hold
	if !runs {
		v.VCPUs, v.MemoryBytes, v.GrownBytes, v.Network = wants.VCPUs, wants.MemoryBytes, wants.GrownBytes, wants.Network
		return v
	}
	var next api.NextStart
	if wants.VCPUs != v.VCPUs {
		next.VCPUs = wants.VCPUs
	}
	if wants.MemoryBytes != v.MemoryBytes {
		next.MemoryBytes = wants.MemoryBytes
	}
	if wants.Network != v.Network {
		next.Network = cmp.Or(wants.Network, api.NetworkNAT)
	}
	if wants.DiskSize() > v.DiskSize() {
		next.DiskBytes = wants.DiskSize()
		if v.Next != nil && !grows {
			next.DiskReason = v.Next.DiskReason
		}
	}
	v.Next = recorded(next)
	return v
}

// recorded returns what is to be recorded of a next start, nil if it changes nothing.
func recorded(next api.NextStart) *api.NextStart {
	if next == (api.NextStart{}) {
		return nil
	}
	return &next
}

// growTime bounds the growth of a file system in a guest.
const growTime = 2 * time.Minute

// growRunning grows the disk of a VM that runs, if that is possible, and records the outcome. Until then
// the record says that it grows at the next start, as it does if the daemon is killed in between.
func (c *Setter) growRunning(ctx context.Context, e *records.Entry, r *instance.Instance, bytes int64) (api.VM, error) {
	faultpoint.Reach("vm.set", "record", "after")
	reason := ""
	if err := growNow(ctx, e, r, bytes); err != nil {
		if ctx.Err() != nil { // nobody waits any more
			return api.VM{}, err
		}
		reason = api.AsError(err).Message
	}
	faultpoint.Reach("vm.set", "grow", "after")
	return e.Answer(ctx, func(v *api.VM) {
		if v.Next == nil { // it has stopped
			return
		}
		next := *v.Next
		next.DiskReason = reason
		if reason == "" {
			v.GrownBytes, next.DiskBytes = bytes, 0
		}
		v.Next = recorded(next)
	})
}

// growNow grows the disk of a VM that runs, then the file system in it. Both can be repeated.
func growNow(ctx context.Context, e *records.Entry, r *instance.Instance, bytes int64) error {
	if err := e.Snapshot().Reachable(); err != nil {
		return err
	}
	m, ok := r.Machine().(driver.Grower)
	if !ok {
		return api.Errorf(api.KindUnsupported, "in system mode a disk cannot grow while it is in use")
	}
	if err := m.GrowDisk(ctx, bytes); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, growTime)
	defer cancel()
	client := guest.Client{Dial: r.Open}
	err := client.GrowDisk(ctx, bytes)
	if api.KindOf(err) == api.KindUnsupported {
		return api.Errorf(api.KindUnsupported, "the agent in the guest is of an older banger, and cannot grow a file system that is in use")
	}
	return err
}

// growDisk records that a disk is to be larger. What is on it could not be kept in a smaller one.
func growDisk(v *api.VM, to int64) error {
	switch has := v.DiskSize(); {
	case v.DiskDriver == "":
		return api.Errorf(api.KindConflict, "cannot change the size of the disk of VM %s: it was not made yet", v.Name).
			WithHint("banger vm show %s", v.Name)
	case to < has:
		return api.Errorf(api.KindInvalid, "cannot make the disk of VM %s smaller, from %s to %s: a disk only grows, as what is on it may be anywhere in it", v.Name, size.Format(has), size.Format(to)).
			WithHint("choose a --disk of more than %s; or make a smaller VM, and copy what you need with banger vm cp", size.Format(has))
	case to > has:
		v.GrownBytes = to
	}
	return nil
}
