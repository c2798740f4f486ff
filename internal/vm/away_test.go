package vm

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"testing"

	"banger/api"
	"banger/internal/driver"
)

// away is the driver and the host of a helper that answers nobody, or only who asks
// for the whole list.
type away struct {
	driver.Driver
	heldHost
	lists  bool
	waited atomic.Int32 // for how many VMs the start of the daemon asked in vain
}

// starting marks the context of the daemon's start: VMs are looked for later, too.
type starting struct{}

func (a *away) absent() error {
	return api.Errorf(api.KindTimeout, "bangerd-root does not answer")
}

func (a *away) Recover(ctx context.Context, _, _ string, _ json.RawMessage) (driver.Machine, error) {
	if ctx.Value(starting{}) != nil {
		a.waited.Add(1)
	}
	return nil, a.absent()
}

func (a *away) Objects(ctx context.Context) ([]api.HostObject, error) {
	if !a.lists {
		return nil, a.absent()
	}
	return a.heldHost.Objects(ctx)
}

// TestRecoverWithoutTheHelper: not each VM waits for it in its turn, or the daemon
// would not get ready in the time that systemd gives it.
func TestRecoverWithoutTheHelper(t *testing.T) {
	w := newWorld(t)
	var held []api.HostObject
	for _, name := range []string{"one", "two", "three"} {
		w.must(w.Create(t.Context(), api.CreateVM{Name: name}))
		held = append(held, holds(w.show(name).ID)...)
	}
	for _, lists := range []bool{false, true} {
		w.leave()
		w.build()
		a := &away{Driver: w.machines.Drivers[0], heldHost: heldHost{objects: held}, lists: lists}
		w.machines.Drivers = []driver.Driver{a}
		w.setHost(a)
		if err := w.Recover(context.WithValue(t.Context(), starting{}, true)); err != nil {
			t.Fatal(err)
		}
		most := int32(0)
		if lists {
			most = 1
		}
		if n := a.waited.Load(); n > most {
			t.Errorf("lists %t: %d VMs waited for it", lists, n)
		}
		for _, name := range []string{"one", "two", "three"} {
			if _, err := w.Start(t.Context(), name, api.StartVM{}); api.KindOf(err) != api.KindConflict {
				t.Errorf("lists %t: VM %s is not being looked for: %v", lists, name, err)
			}
		}
	}
	w.leave()
	w.enter() // it is there again
}
