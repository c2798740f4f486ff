package vm

import (
	"context"
	"slices"
	"testing"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/op"
	"banger/internal/vm/records"
)

// TestPause: a paused VM keeps its process under the next daemon, is reached by nobody, and goes on
// when it is resumed.
func TestPause(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	before := w.show("dev")
	for range 2 { // the second one changes nothing
		w.must(w.Pause(t.Context(), "dev"))
		paused(t, w, before.PID)
	}
	w.leave()
	w.enter()
	paused(t, w, before.PID)
	for range 2 {
		w.must(w.Resume(t.Context(), "dev"))
		if v := w.show("dev"); v.State != api.StateRunning || v.Reason != "" || v.PID != before.PID || v.BootID != before.BootID {
			t.Errorf("resumed, it is %s (%s), pid %d", v.State, v.Reason, v.PID)
		}
		w.health("dev")
	}
	if v := w.show("dev"); !slices.Equal(v.Timing, before.Timing) {
		t.Errorf("the timing of its start became %v", v.Timing)
	}
}

// paused says if the VM dev is not, in one of the ways that tell.
func paused(t *testing.T, w *world, pid int) {
	t.Helper()
	if v := w.show("dev"); v.State != api.StatePaused || v.PID != pid || v.Reason == "" {
		t.Errorf("paused, it is %s (%s), pid %d, want %d", v.State, v.Reason, v.PID, pid)
	}
	if _, err := w.DialGuest(t.Context(), "dev"); api.KindOf(err) != api.KindSuspended || api.AsError(err).Hint == "" {
		t.Errorf("its guest is dialled: %v", err)
	}
	if _, err := w.Start(t.Context(), "dev", api.StartVM{}); api.KindOf(err) != api.KindSuspended {
		t.Errorf("it is started: %v", err)
	}
	if _, err := w.Delete(t.Context(), "dev", false); api.KindOf(err) != api.KindConflict {
		t.Errorf("it is deleted without force: %v", err)
	}
}

// TestPausedVMEnds: in each way that a running one can, and its guest shuts down.
func TestPausedVMEnds(t *testing.T) {
	for name, end := range map[string]func(w *world) (*op.Op, error){
		"stop": func(w *world) (*op.Op, error) { return w.Stop(t.Context(), "dev", api.StopVM{}) },
		"kill": func(w *world) (*op.Op, error) { return w.Kill(t.Context(), "dev") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
			w.must(w.Pause(t.Context(), "dev"))
			w.must(end(w))
			want := map[string]string{"stop": "stopped", "kill": "killed"}[name]
			if v := w.show("dev"); v.State != api.StateStopped || v.Reason != want {
				t.Errorf("%s (%s), want %s", v.State, v.Reason, want)
			}
			for what, do := range map[string]func(context.Context, string) (*op.Op, error){"pause": w.Pause, "resume": w.Resume} {
				if _, err := do(t.Context(), "dev"); api.KindOf(err) != api.KindConflict {
					t.Errorf("%s of a stopped VM: %v", what, err)
				}
			}
		})
	}
}

// TestPauseOfAnEarlierDaemon: the next one does what was begun, whether or not its work was done.
func TestPauseOfAnEarlierDaemon(t *testing.T) {
	for _, c := range []struct {
		kind, step    string
		undoing, done bool
		want          api.State
	}{
		{records.KindPause, "pause", false, false, api.StatePaused},
		{records.KindPause, "pause", false, true, api.StatePaused},
		{records.KindPause, "pause", true, true, api.StateRunning},
		{records.KindResume, "resume", false, false, api.StateRunning},
	} {
		w := newWorld(t)
		w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
		if c.kind == records.KindResume {
			w.must(w.Pause(t.Context(), "dev"))
		}
		e := w.table.ByID(w.show("dev").ID)
		if c.done { // and not recorded
			if err := e.Run().Machine().(driver.Pauser).Pause(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		w.leaveIn(c.kind, e.ID(), c.step, c.undoing)
		if v := w.show("dev"); v.State != c.want {
			t.Errorf("%+v: it is %s (%s)", c, v.State, v.Reason)
		}
		if c.want == api.StateRunning {
			w.health("dev")
		}
	}
}

// unpausable hides what machines can.
type unpausable struct{ driver.Driver }

type unpausableMachine struct{ driver.Machine }

func (u unpausable) Start(ctx context.Context, spec driver.Spec) (driver.Machine, error) {
	m, err := u.Driver.Start(ctx, spec)
	return unpausableMachine{m}, err
}

// TestPauseCannot: a driver that cannot is named, and nothing changes.
func TestPauseCannot(t *testing.T) {
	w := newWorld(t)
	w.machines.Drivers[0] = unpausable{w.machines.Drivers[0]}
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	if err := w.do(w.Pause(t.Context(), "dev")); api.KindOf(err) != api.KindUnsupported {
		t.Error(err)
	}
	w.health("dev")
}
