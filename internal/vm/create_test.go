package vm

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"banger/api"
	"banger/internal/driver"
)

// mustBeKept is that a VM, whose creation could not be undone, is there to be deleted.
func (w *world) mustBeKept(name, why string, err error) {
	w.t.Helper()
	if err == nil || !strings.Contains(err.Error(), "could not be removed, and still exists: "+why) ||
		strings.Contains(err.Error(), "nothing is left") || !strings.Contains(api.AsError(err).Hint, "delete --force "+name) {
		w.t.Errorf("the error is %v", err)
	}
	v := w.show(name)
	if v.State != api.StateFailed || !strings.Contains(v.Reason, why) {
		w.t.Errorf("it is %s (%s)", v.State, v.Reason)
	}
	if _, err := os.Stat(w.disks.Path(v.ID)); err != nil {
		w.t.Errorf("its disk is gone: %v", err)
	}
}

// TestCreationThatCannotBeReleasedIsKept: what the host holds for a VM is nobody
// else's, and can be released later.
func TestCreationThatCannotBeReleasedIsKept(t *testing.T) {
	const why = "in use by udev"
	for name, later := range map[string]func(w *world){
		"same daemon": func(*world) {},
		"next daemon": func(w *world) {
			w.leave()
			w.enter()
			if held := w.host.holdsFor(); len(held) != 1 || held[0] != w.show("two").ID {
				w.t.Errorf("the host holds something for %v", held)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorldOn(t, &host{})
			w.fault("refuse")
			w.host.failReleases(1000)
			w.mustBeKept("one", why, w.do(w.Create(t.Context(), api.CreateVM{Name: "one", Start: true})))
			w.fault("")
			w.must(w.Create(t.Context(), api.CreateVM{Name: "two", Start: true}))
			w.host.failReleases(0)
			later(w)
			for _, name := range []string{"one", "two"} {
				w.must(w.Delete(t.Context(), name, true))
			}
			w.nothingLeft()
			if held := w.host.holdsFor(); len(held) != 0 {
				t.Errorf("the host holds something for %v", held)
			}
		})
	}
}

// stubborn is a driver whose machines cannot be ended while it is on.
type stubborn struct {
	driver.Driver
	on atomic.Bool
}

type stubbornMachine struct {
	driver.Machine
	driver *stubborn
}

func (s *stubborn) Start(ctx context.Context, spec driver.Spec) (driver.Machine, error) {
	m, err := s.Driver.Start(ctx, spec)
	return stubbornMachine{m, s}, err
}

func (m stubbornMachine) Kill(ctx context.Context) error {
	if m.driver.on.Load() {
		return errors.New("bangerd-root does not answer")
	}
	return m.Machine.Kill(ctx)
}

// TestCreationThatCannotBeEndedIsKept: a VMM that runs has its disk and its record,
// and the next daemon ends it.
func TestCreationThatCannotBeEndedIsKept(t *testing.T) {
	w := newWorld(t)
	for _, restart := range []bool{false, true} {
		d := &stubborn{Driver: w.machines.Drivers[0]}
		w.machines.Drivers[0] = d
		d.on.Store(true)
		w.fault("mute")
		o, err := w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true})
		if err != nil {
			t.Fatal(err)
		}
		untilStep(t, o, "agent")
		if err := w.Ops.Cancel(o.ID()); err != nil {
			t.Fatal(err)
		}
		err = o.Wait(t.Context())
		if api.KindOf(err) != api.KindCanceled {
			t.Errorf("it ended with %v", err)
		}
		w.mustBeKept("dev", "bangerd-root does not answer", err)
		if w.show("dev").PID == 0 {
			t.Error("its VMM is not known any more")
		}
		d.on.Store(false)
		if restart {
			w.leave()
			w.enter()
		}
		w.must(w.Delete(t.Context(), "dev", !restart))
		w.nothingLeft()
	}
}

// forgetful is a driver that starts a machine and says that it could not.
type forgetful struct{ driver.Driver }

func (f forgetful) Start(ctx context.Context, spec driver.Spec) (driver.Machine, error) {
	m, err := f.Driver.Start(ctx, spec)
	if err == nil {
		m.Release()
	}
	return nil, errors.Join(err, errors.New("bangerd-root went away"))
}

// TestVMMThatNobodyKnowsIsEnded: a start can fail although its VMM runs.
func TestVMMThatNobodyKnowsIsEnded(t *testing.T) {
	w := newWorldOn(t, &host{})
	d := w.machines.Drivers[0]
	w.machines.Drivers[0] = forgetful{d}
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev"}))
	id := w.show("dev").ID
	if err := w.do(w.Start(t.Context(), "dev", api.StartVM{})); err == nil {
		t.Error("it starts")
	}
	w.must(w.Delete(t.Context(), "dev", true))
	w.nothingLeft()
	if _, err := d.Recover(t.Context(), id, w.Paths.VM(id), nil); !errors.Is(err, driver.ErrGone) {
		t.Errorf("its VMM runs on: %v", err)
	}
}

// TestInterruptedUndoReleases leaves the undoing of a start at each of its steps.
func TestInterruptedUndoReleases(t *testing.T) {
	for _, step := range []string{"vmm", "network", "attach", "disk", "kernel"} {
		t.Run(step, func(t *testing.T) {
			w := newWorldOn(t, &host{})
			w.interrupt(t, "vmm", true)
			w.build()
			left, err := w.store.UnfinishedOperations(t.Context())
			if err != nil || len(left) != 1 || len(w.host.holdsFor()) != 1 {
				t.Fatal(left, err)
			}
			if err := w.store.EnterStep(t.Context(), left[0].ID, step, true); err != nil {
				t.Fatal(err)
			}
			if err := w.Recover(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.settleOps()
			w.nothingLeft()
			if held := w.host.holdsFor(); len(held) != 0 {
				t.Errorf("the host holds something for %v", held)
			}
		})
	}
}
