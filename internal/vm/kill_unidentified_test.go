package vm

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"banger/api"
	"banger/internal/driver"
)

// doubtful is a driver that cannot tell whether a VM runs until its host has ended
// whatever does. It is that host, too.
type doubtful struct {
	driver.Driver
	heldHost
	world *world

	mu    sync.Mutex
	ended map[string]bool
}

func (d *doubtful) Recover(ctx context.Context, id, dir string, hint json.RawMessage) (driver.Machine, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.ended[id] {
		return nil, api.Errorf(api.KindInternal, "the unit of VM %s runs something that is not its VMM", id)
	}
	return d.Driver.Recover(ctx, id, dir, hint)
}

func (d *doubtful) Kill(ctx context.Context, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended[id] = true
	m, err := d.Driver.Recover(ctx, id, d.world.Paths.VM(id), nil)
	if err != nil {
		return err
	}
	defer m.Release()
	return m.Kill(ctx)
}

// TestUnprovenVMM: what nobody can prove to be a VM's VMM can be killed, and the VM
// be deleted, all the same.
func TestUnprovenVMM(t *testing.T) {
	w := newWorld(t)
	var held []api.HostObject
	for _, name := range []string{"one", "two"} {
		w.must(w.Create(t.Context(), api.CreateVM{Name: name, Start: true}))
		held = append(held, holds(w.show(name).ID)...)
	}
	w.leave()
	w.build()
	d := &doubtful{Driver: w.machines.Drivers[0], heldHost: heldHost{objects: held}, world: w, ended: map[string]bool{}}
	w.machines.Drivers = []driver.Driver{d}
	w.setHost(d)
	if err := w.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := w.Stop(t.Context(), "one", api.StopVM{})
	if api.KindOf(err) != api.KindConflict || !strings.Contains(api.AsError(err).Hint, "banger vm kill one") {
		t.Errorf("it was stopped with %v", err)
	}
	if _, err := w.Delete(t.Context(), "two", false); api.KindOf(err) != api.KindConflict {
		t.Errorf("it was deleted with %v", err)
	}
	w.must(w.Kill(t.Context(), "one"))
	if v := w.show("one"); v.State != api.StateStopped || v.Reason != "killed" || v.PID != 0 {
		t.Errorf("after its kill: %+v", v)
	}
	w.must(w.Delete(t.Context(), "two", true))
	w.must(w.Start(t.Context(), "one", api.StartVM{}))
	w.must(w.Delete(t.Context(), "one", true))
	w.nothingLeft()
}
