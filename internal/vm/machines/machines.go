// Package machines finds and adopts the machines of VMs: it knows the drivers, makes instances of
// running machines, and removes what there was for a machine that has ended.
package machines

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/paths"
	"banger/internal/vm/instance"
	"banger/internal/vm/records"
	"banger/internal/vm/tasks"
)

// Host removes the host's objects of a VM that is not running.
type Host interface {
	Release(ctx context.Context, id string) error
}

// Ports stops serving the published ports of a VM that has ended, unless it is suspended.
type Ports interface {
	Ended(ctx context.Context, e *records.Entry)
}

// Options configure Machines.
type Options struct {
	Paths   paths.Paths
	Drivers []driver.Driver
	Host    Host // nil in user mode
	Ports   Ports
	Logger  *slog.Logger
}

// Machines are those of all VMs.
type Machines struct {
	Options
	instances *instance.Instances
	tasks     *tasks.Group
	ended     func(e *records.Entry)
}

// New returns the machines of a daemon. ended is called when the end of a VM's machine is recorded.
func New(o Options, instances *instance.Instances, group *tasks.Group, ended func(e *records.Entry)) *Machines {
	return &Machines{Options: o, instances: instances, tasks: group, ended: ended}
}

// autoDriver stands for the first driver that works on this host.
const autoDriver = "auto"

// ChooseDriver returns the name of an existing driver.
func (m *Machines) ChooseDriver(ctx context.Context, name string) (string, error) {
	if name != autoDriver {
		_, err := m.Driver(name)
		return name, err
	}
	for _, d := range m.Drivers[:len(m.Drivers)-1] {
		if _, err := d.Probe(ctx, "", ""); err == nil {
			return d.Name(), nil
		}
	}
	// What the last one lacks is reported when it starts a VM.
	return m.Drivers[len(m.Drivers)-1].Name(), nil
}

// Driver returns the driver by name.
func (m *Machines) Driver(name string) (driver.Driver, error) {
	var known []string
	for _, d := range m.Drivers {
		if d.Name() == name {
			return d, nil
		}
		known = append(known, d.Name())
	}
	return nil, api.Errorf(api.KindInvalid, "no driver named %.80q", name).WithHint("--driver %s", strings.Join(known, "   or   --driver "))
}

// Recover finds the running machine of a VM by its driver. The error is driver.ErrGone if none runs.
func (m *Machines) Recover(ctx context.Context, d driver.Driver, id string) (driver.Machine, error) {
	return d.Recover(ctx, id, m.Paths.VM(id), m.readHandle(id))
}

// Find adopts an unknown VMM: bangerd-root started it and ended before it could report or end it.
func (m *Machines) Find(ctx context.Context, e *records.Entry) error {
	v := e.Record()
	if m.Host == nil || v.DiskDriver == "" || e.Run() != nil {
		return nil
	}
	d, err := m.Driver(v.Driver)
	if err != nil {
		return nil // nobody knows how to look; bangerd-root releases nothing that runs
	}
	machine, err := m.Recover(ctx, d, v.ID)
	if err == nil {
		m.Adopt(e, machine)
	}
	if errors.Is(err, driver.ErrGone) {
		return nil
	}
	return err
}

// RecoverDamaged finds the machine of a VM whose record cannot be read, of any driver.
func (m *Machines) RecoverDamaged(ctx context.Context, e *records.Entry) (alive bool, err error) {
	for _, d := range m.Drivers {
		machine, err := m.Recover(ctx, d, e.ID())
		if err == nil {
			m.Adopt(e, machine)
			return true, nil
		}
		if !errors.Is(err, driver.ErrGone) {
			return false, err
		}
	}
	return false, nil
}

// Adopt records a running machine: one that was just started, or one that was recovered.
func (m *Machines) Adopt(e *records.Entry, machine driver.Machine) {
	r := m.instances.New(e.ID(), e.Record, machine)
	e.SetRun(r)
	m.writeHandle(e.ID(), machine.Handle())
	m.instances.Begin(r, func() { m.end(e, r) })
}

// end records that a VMM process has ended.
func (m *Machines) end(e *records.Entry, r *instance.Instance) {
	after, why := m.instances.WhyEnded(r)
	m.LetGo(m.tasks.Context(), e)
	e.Ended(context.WithoutCancel(m.tasks.Context()), after, why)
	r.MarkGone()
	m.ended(e)
}

// LetGo removes what there is for a VM besides its VMM, which has ended. Objects of the host that
// cannot be removed now are found at the next start of the VM or the daemon.
func (m *Machines) LetGo(ctx context.Context, e *records.Entry) {
	ctx, id := context.WithoutCancel(ctx), e.ID()
	if m.Host != nil {
		if err := m.Host.Release(ctx, id); err != nil {
			m.Logger.Error("cannot release what the host holds for a VM", "vm", id, "error", err)
		}
	}
	m.Ports.Ended(ctx, e)
}

// handles is the content of handles.json: a cache of the kernel's state of a VM, which is never
// trusted.
type handles struct {
	Version int             `json:"version"`
	Machine json.RawMessage `json:"machine"`
}

// writeHandle records how a machine is found. A failure does no harm: /proc is scanned later.
func (m *Machines) writeHandle(id string, handle json.RawMessage) {
	if data, err := json.Marshal(handles{Version: 1, Machine: handle}); err == nil {
		_ = os.WriteFile(filepath.Join(m.Paths.VM(id), paths.VMHandles), data, 0o600)
	}
}

func (m *Machines) readHandle(id string) json.RawMessage {
	var h handles
	data, err := os.ReadFile(filepath.Join(m.Paths.VM(id), paths.VMHandles))
	if err != nil || json.Unmarshal(data, &h) != nil || h.Version != 1 {
		return nil
	}
	return h.Machine
}
