package vm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/guest"
	"banger/internal/op"
	"banger/internal/paths"
	"banger/internal/vm/records"
)

// suspended says if the VM dev is not, in one of the ways that tell.
func suspended(t *testing.T, w *world) {
	t.Helper()
	v := w.show("dev")
	if v.State != api.StateSuspended || v.PID != 0 || v.Reason == "" || v.StoppedAt == nil {
		t.Errorf("suspended, it is %s (%s), pid %d", v.State, v.Reason, v.PID)
	}
	info, err := os.Stat(savedOf(w))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("its memory: %v, %v", info, err)
	}
	if _, err := w.DialGuest(t.Context(), "dev"); api.KindOf(err) != api.KindSuspended || !strings.Contains(api.AsError(err).Hint, "vm start dev") {
		t.Errorf("its guest is dialled: %v", err)
	}
}

func savedOf(w *world) string {
	return filepath.Join(w.Paths.VM(w.show("dev").ID), paths.VMSaved)
}

// goesOn says if the VM dev does not run, or if its memory is on the disk still.
func goesOn(t *testing.T, w *world) {
	t.Helper()
	if v := w.show("dev"); v.State != api.StateRunning || v.Reason != "" || v.PID == 0 || v.StoppedAt != nil {
		t.Errorf("it is %s (%s), pid %d", v.State, v.Reason, v.PID)
	}
	w.health("dev")
	for _, dir := range []string{savedOf(w), savedOf(w) + ".new"} {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is there: %v", filepath.Base(dir), err)
		}
	}
}

func newSuspended(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	w.must(w.Suspend(t.Context(), "dev"))
	return w
}

// TestSuspend: a suspended VM has no process, is so under the next daemon, and continues at its start.
func TestSuspend(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	before := w.show("dev")
	for range 2 { // the second one changes nothing
		w.must(w.Suspend(t.Context(), "dev"))
		suspended(t, w)
	}
	w.leave()
	w.enter()
	suspended(t, w)
	w.must(w.Start(t.Context(), "dev", api.StartVM{}))
	goesOn(t, w)
	if v := w.show("dev"); v.StartedAt == nil || !v.StartedAt.Equal(*before.StartedAt) {
		t.Errorf("it has been started at %v, and that became %v", before.StartedAt, v.StartedAt)
	}
}

// TestSuspendedIsRefused: what would lose the memory needs to be asked for, and the rest says why not.
func TestSuspendedIsRefused(t *testing.T) {
	w := newSuspended(t)
	for name, c := range map[string]struct {
		do   func() (*op.Op, error)
		kind api.Kind
	}{
		"stop":    {func() (*op.Op, error) { return w.Stop(t.Context(), "dev", api.StopVM{}) }, api.KindSuspended},
		"kill":    {func() (*op.Op, error) { return w.Kill(t.Context(), "dev") }, api.KindSuspended},
		"pause":   {func() (*op.Op, error) { return w.Pause(t.Context(), "dev") }, api.KindSuspended},
		"resume":  {func() (*op.Op, error) { return w.Resume(t.Context(), "dev") }, api.KindSuspended},
		"restart": {func() (*op.Op, error) { return w.Restart(t.Context(), "dev", api.StartVM{}) }, api.KindSuspended},
		"commit":  {func() (*op.Op, error) { return w.Commit(t.Context(), "dev", api.CommitVM{Name: "new"}) }, api.KindConflict},
		"delete":  {func() (*op.Op, error) { return w.Delete(t.Context(), "dev", false) }, api.KindConflict},
	} {
		if err := w.do(c.do()); api.KindOf(err) != c.kind || api.AsError(err).Hint == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.must(w.Prune(t.Context()))
	memory := int64(512 * mib)
	if v, err := w.Set(t.Context(), "dev", api.SetVM{MemoryBytes: &memory}); err != nil || v.MemoryBytes == memory || v.Next == nil || v.Next.MemoryBytes != memory {
		t.Errorf("it is to have more memory: %+v, %v", v, err)
	}
	suspended(t, w)
	w.must(w.Start(t.Context(), "dev", api.StartVM{}))
	goesOn(t, w)
	if v := w.show("dev"); v.MemoryBytes == memory {
		t.Error("it has continued with another size")
	}
	w.must(w.Suspend(t.Context(), "dev"))
	w.must(w.Delete(t.Context(), "dev", true))
	w.nothingLeft()
}

// TestColdStart: the memory is dropped, and what the VM was to have at its next start it has.
func TestColdStart(t *testing.T) {
	w := newSuspended(t)
	memory := int64(512 * mib)
	if _, err := w.Set(t.Context(), "dev", api.SetVM{MemoryBytes: &memory}); err != nil {
		t.Fatal(err)
	}
	w.must(w.Start(t.Context(), "dev", api.StartVM{Cold: true}))
	goesOn(t, w)
	if v := w.show("dev"); v.MemoryBytes != memory {
		t.Errorf("it has %d bytes", v.MemoryBytes)
	}
	w.must(w.Stop(t.Context(), "dev", api.StopVM{}))
	w.must(w.Start(t.Context(), "dev", api.StartVM{Cold: true})) // of a stopped one, it is a start
	goesOn(t, w)
}

// faulty is a driver whose machines are saved, and restored, only after a call.
type faulty struct {
	driver.Driver
	save, restore func(ctx context.Context) error
}

type faultyMachine struct {
	driver.Machine
	driver.Saver
	save func(ctx context.Context) error
}

func (m faultyMachine) Save(ctx context.Context, dir string) error {
	if err := m.save(ctx); err != nil {
		return err
	}
	return m.Saver.Save(ctx, dir)
}

func (f *faulty) wrap(m driver.Machine, err error) (driver.Machine, error) {
	if err != nil {
		return nil, err
	}
	return faultyMachine{m, m.(driver.Saver), func(ctx context.Context) error { return f.save(ctx) }}, nil
}

func (f *faulty) Start(ctx context.Context, spec driver.Spec) (driver.Machine, error) {
	return f.wrap(f.Driver.Start(ctx, spec))
}

func (f *faulty) Restore(ctx context.Context, spec driver.Spec, dir string) (driver.Machine, error) {
	if err := f.restore(ctx); err != nil {
		return nil, err
	}
	return f.wrap(f.Driver.(driver.Restorer).Restore(ctx, spec, dir))
}

func (f *faulty) Judge(ctx context.Context, spec driver.Spec, dir string) error {
	return f.Driver.(driver.Restorer).Judge(ctx, spec, dir)
}

func works(context.Context) error { return nil }

func newFaulty(t *testing.T) (*world, *faulty) {
	w := newWorld(t)
	f := &faulty{w.machines.Drivers[0], works, works}
	w.machines.Drivers[0] = f
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	return w, f
}

// TestSuspendFails: the VM runs on, and nothing is left of the attempt.
func TestSuspendFails(t *testing.T) {
	w, f := newFaulty(t)
	f.save = func(context.Context) error { return syscall.ENOSPC }
	if err := w.do(w.Suspend(t.Context(), "dev")); api.KindOf(err) != api.KindNoSpace {
		t.Errorf("a full disk: %v", err)
	}
	goesOn(t, w)

	begun := make(chan struct{})
	f.save = func(ctx context.Context) error {
		close(begun)
		<-ctx.Done()
		return context.Cause(ctx)
	}
	o, err := w.Suspend(t.Context(), "dev")
	if err != nil {
		t.Fatal(err)
	}
	<-begun
	if _, err := w.Start(t.Context(), "dev", api.StartVM{}); api.KindOf(err) != api.KindConflict {
		t.Errorf("a start meanwhile: %v", err)
	}
	if err := w.Ops.Cancel(o.ID()); err != nil {
		t.Fatal(err)
	}
	if err := o.Wait(t.Context()); api.KindOf(err) != api.KindCanceled {
		t.Errorf("cancelled: %v", err)
	}
	goesOn(t, w)
	f.save = works
	w.must(w.Suspend(t.Context(), "dev"))
	suspended(t, w)
}

// TestEndsWhileItIsSaved: no memory of a VM that has ended by itself is left.
func TestEndsWhileItIsSaved(t *testing.T) {
	w, f := newFaulty(t)
	f.save = func(context.Context) error {
		if err := syscall.Kill(w.show("dev").PID, syscall.SIGKILL); err != nil {
			return err
		}
		<-w.table.ByID(w.show("dev").ID).LastRun().Gone()
		return errors.New("the VMM is gone")
	}
	if err := w.do(w.Suspend(t.Context(), "dev")); err == nil {
		t.Error("it is suspended")
	}
	if v := w.show("dev"); v.State != api.StateStopped {
		t.Errorf("it is %s (%s)", v.State, v.Reason)
	}
	for _, dir := range []string{savedOf(w), savedOf(w) + ".new"} {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is there: %v", filepath.Base(dir), err)
		}
	}
	f.save = works
	w.must(w.Start(t.Context(), "dev", api.StartVM{}))
	goesOn(t, w)
}

// TestRestoreFails: the VM stays suspended, the way out is named, and later it continues.
func TestRestoreFails(t *testing.T) {
	w, f := newFaulty(t)
	w.must(w.Suspend(t.Context(), "dev"))
	f.restore = func(context.Context) error { return api.Errorf(api.KindUnsupported, "another version") }
	err := w.do(w.Start(t.Context(), "dev", api.StartVM{}))
	if api.KindOf(err) != api.KindUnsupported || !strings.Contains(api.AsError(err).Hint, "vm start --cold dev") {
		t.Errorf("%v", err)
	}
	suspended(t, w)
	f.restore = works
	w.must(w.Start(t.Context(), "dev", api.StartVM{}))
	goesOn(t, w)
}

// TestWake: whoever asks for the guest wakes it, several at once once.
func TestWake(t *testing.T) {
	w, f := newFaulty(t)
	restored := 0
	f.restore = func(context.Context) error { restored++; return nil }
	for range 3 {
		w.must(w.Suspend(t.Context(), "dev"))
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				conn, err := w.DialGuest(guest.Waking(t.Context()), "dev")
				if err != nil {
					t.Error(err)
					return
				}
				conn.Close()
			})
		}
		all.Wait()
		goesOn(t, w)
	}
	if restored != 3 {
		t.Errorf("restored %d times", restored)
	}
	w.must(w.Pause(t.Context(), "dev"))
	if _, err := w.DialGuest(guest.Waking(t.Context()), "dev"); api.KindOf(err) != api.KindSuspended {
		t.Errorf("a paused VM: %v", err)
	}
}

// TestSuspendOfAnEarlierDaemon: the next one does what was begun, or undoes it, wherever it was.
func TestSuspendOfAnEarlierDaemon(t *testing.T) {
	do := func(steps []op.Step, name string) error {
		i := slices.IndexFunc(steps, func(s op.Step) bool { return s.Name == name })
		return steps[i].Do(t.Context(), func(api.Progress) {})
	}
	save := func(w *world, e *records.Entry) error { return do(w.Suspender.SuspendPlan(e).Steps, "save") }
	restore := func(w *world, e *records.Entry) error {
		w.must(w.Suspend(t.Context(), "dev"))
		return do(w.Suspender.WakeSteps(e), "restore")
	}
	for name, c := range map[string]struct {
		kind, step string
		undoing    bool
		before     func(w *world, e *records.Entry) error
		want       api.State
	}{
		"nothing saved": {records.KindSuspend, "save", false, nil, api.StateSuspended},
		"half saved": {records.KindSuspend, "save", false, func(w *world, e *records.Entry) error {
			dir := savedOf(w) + ".new"
			return errors.Join(os.Mkdir(dir, 0o700), e.Run().Machine().(driver.Saver).Save(t.Context(), dir))
		}, api.StateSuspended},
		"saved":        {records.KindSuspend, "save", false, save, api.StateSuspended},
		"about to end": {records.KindSuspend, "end", false, save, api.StateSuspended},
		"undoing":      {records.KindSuspend, "save", true, save, api.StateRunning},
		"nothing restored": {records.KindStart, "restore", false, func(w *world, e *records.Entry) error {
			w.must(w.Suspend(t.Context(), "dev"))
			return nil
		}, api.StateRunning},
		"restored":       {records.KindStart, "restore", false, restore, api.StateRunning},
		"undoing, again": {records.KindStart, "restore", true, restore, api.StateSuspended},
		"used up": {records.KindStart, "continue", false, func(w *world, e *records.Entry) error {
			return errors.Join(restore(w, e), e.Update(t.Context(), func(v *api.VM) { v.State = api.StatePaused }))
		}, api.StateRunning},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
			e := w.table.ByID(w.show("dev").ID)
			if c.before != nil {
				if err := c.before(w, e); err != nil {
					t.Fatal(err)
				}
			}
			w.leaveIn(c.kind, e.ID(), c.step, c.undoing)
			if c.want == api.StateRunning {
				goesOn(t, w)
				return
			}
			suspended(t, w)
			w.must(w.Start(t.Context(), "dev", api.StartVM{}))
			goesOn(t, w)
		})
	}
}

// TestSuspendedIsJudged: whether a suspended VM can continue is known before it is tried.
func TestSuspendedIsJudged(t *testing.T) {
	w := newSuspended(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "running", Start: true}))
	if fit, stranded := w.Judge(t.Context()); !slices.Equal(fit, []string{"dev"}) || stranded != nil {
		t.Errorf("fit: %v, stranded: %v", fit, stranded)
	}
	if err := os.Truncate(filepath.Join(savedOf(w), driver.SavedState), 1); err != nil {
		t.Fatal(err)
	}
	fit, stranded := w.Judge(t.Context())
	if fit != nil || len(stranded) != 1 || !strings.HasPrefix(stranded[0], "VM dev cannot continue: the saved memory cannot be used: ") {
		t.Errorf("damaged, fit: %v, stranded: %v", fit, stranded)
	}
	w.must(w.Start(t.Context(), "dev", api.StartVM{Cold: true}))
	if fit, stranded := w.Judge(t.Context()); fit != nil || stranded != nil {
		t.Errorf("of VMs that run: %v, %v", fit, stranded)
	}
}
