package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"slices"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/paths"
	"banger/internal/vm/machines"
	"banger/internal/vm/records"
	"banger/internal/vmid"
)

// Host is what holds objects for VMs that only root may create. User mode has none.
type Host interface {
	// Release removes all objects of the host of a VM that is not running.
	Release(ctx context.Context, id string) error
	// Snapshot reports whether the VM's disk is attached as a device-mapper snapshot.
	Snapshot(v api.VM) bool
	// Objects lists the host's objects of all VMs.
	Objects(ctx context.Context) ([]api.HostObject, error)
}

// Inventory compares what the host holds for VMs with the table of VMs.
type Inventory struct {
	Host     Host // nil in user mode
	paths    paths.Paths
	table    *records.Table
	machines *machines.Machines
	logger   *slog.Logger
}

// NewInventory returns the inventory of a host, which is nil in user mode.
func NewInventory(host Host, p paths.Paths, table *records.Table, m *machines.Machines, logger *slog.Logger) *Inventory {
	return &Inventory{Host: host, paths: p, table: table, machines: m, logger: logger}
}

// Strays returns the names of directories that look like VMs' and belong to
// none. They are never removed automatically: a disk may hold somebody's work.
func (c *Inventory) Strays() []string {
	dirs, err := os.ReadDir(c.paths.VMs())
	if err != nil {
		return nil
	}
	var strays []string
	for _, d := range dirs {
		if vmid.Valid(d.Name()) && c.table.ByID(d.Name()) == nil {
			strays = append(strays, d.Name())
		}
	}
	return strays
}

// sweep releases the host's objects of VMs that are not running, which a crash between two steps or a
// loss of power has left. It also removes objects that belong to no VM, unless there is a directory
// with a disk: then the store was lost.
func (c *Inventory) sweep(ctx context.Context) (removed []string) {
	if c.Host == nil {
		return nil
	}
	objects, err := c.Host.Objects(ctx)
	if err != nil {
		c.logger.Error("cannot compare what the host holds with the store", "error", err)
		return nil
	}
	var ids []string
	for _, o := range objects {
		if o.ID != "" && c.mayRelease(o.ID) {
			ids = append(ids, o.ID)
		}
	}
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		if err := c.releaseStray(ctx, id); err != nil {
			c.logger.Error("cannot remove a stray", "vm", id, "error", err)
			continue
		}
		removed = append(removed, id)
	}
	return removed
}

func (c *Inventory) mayRelease(id string) bool {
	if e := c.table.ByID(id); e != nil {
		at := e.Snapshot()
		return at.Busy == "" && at.Run == nil
	}
	return !c.hasDirectory(id)
}

// hasDirectory reports whether a VM's directory exists, or may exist.
func (c *Inventory) hasDirectory(id string) bool {
	_, err := os.Lstat(c.paths.VM(id))
	return !errors.Is(err, os.ErrNotExist)
}

// releaseStray ends what may still run for an unknown VM, and releases its objects.
func (c *Inventory) releaseStray(ctx context.Context, id string) error {
	if c.table.ByID(id) == nil {
		for _, d := range c.machines.Drivers {
			m, err := d.Recover(ctx, id, c.paths.VM(id), nil)
			if err != nil {
				continue
			}
			c.logger.Warn("ending a VMM that belongs to no VM", "vm", id, "pid", m.PID())
			err = m.Kill(ctx)
			m.Release()
			if err != nil {
				return err
			}
			break
		}
	}
	return c.Host.Release(ctx, id)
}

// mayRun returns a function that reports whether a VM may have a VMM. In user mode each VMM has the id
// in its command line. In system mode a VM without any object of the host has none: at least its jail
// would exist. One search for all VMs is cheaper than one for each. If the host cannot be asked, the
// error says so: then no VM can be recovered now.
func (c *Inventory) mayRun(ctx context.Context) (func(id string) bool, error) {
	all := func(string) bool { return true }
	if c.Host == nil {
		return c.survey(), nil
	}
	objects, err := c.Host.Objects(ctx)
	if unanswered(err) {
		return nil, err
	}
	if err != nil {
		c.logger.Warn("cannot list what the host holds: each VM is looked for", "error", err)
		return all, nil
	}
	held := map[string]bool{}
	for _, o := range objects {
		held[o.ID] = true
	}
	return func(id string) bool { return held[id] }, nil
}

// survey is mayRun for drivers that support it.
func (c *Inventory) survey() func(id string) bool {
	all := map[string]bool{}
	for _, d := range c.machines.Drivers {
		surveyor, can := d.(driver.Surveyor)
		if !can {
			return func(string) bool { return true }
		}
		some, err := surveyor.Survey()
		if err != nil {
			c.logger.Warn("cannot look for all VMs at once: each is looked for", "driver", d.Name(), "error", err)
			return func(string) bool { return true }
		}
		maps.Copy(all, some)
	}
	return func(id string) bool { return all[id] }
}

// unanswered reports whether an error means that bangerd-root did not answer.
func unanswered(err error) bool { return api.KindOf(err) == api.KindTimeout }
