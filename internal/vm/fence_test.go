package vm

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"banger/api"
	"banger/internal/op"
	"banger/internal/store"
	"banger/internal/vm/reconcile"
	"banger/internal/vm/records"
)

// lossy is a store that cannot record the end of an operation while full is set, nor
// what becomes of a VM while fuller is.
type lossy struct {
	*store.Store
	full, fuller *atomic.Bool
}

func (f lossy) EndOperation(ctx context.Context, last api.Event) error {
	if f.full.Load() {
		return noRoom()
	}
	return f.Store.EndOperation(ctx, last)
}

func (f lossy) PutVM(ctx context.Context, v api.VM) error {
	if f.fuller.Load() {
		return noRoom()
	}
	return f.Store.PutVM(ctx, v)
}

func (f lossy) SettleVM(ctx context.Context, v api.VM, operation string, how op.Settled) error {
	if f.fuller.Load() {
		return noRoom()
	}
	return f.Store.SettleVM(ctx, v, operation, how)
}

func noRoom() error { return api.Errorf(api.KindNoSpace, "cannot write the store: the disk is full") }

// lossyWorld is a world whose store forgets as told.
type lossyWorld struct {
	*world
	full, fuller atomic.Bool
}

func newLossyWorld(t *testing.T) *lossyWorld {
	f := &lossyWorld{world: newWorld(t)}
	f.wrap()
	return f
}

func (f *lossyWorld) wrap() {
	f.setOps(op.NewManager(lossy{f.store, &f.full, &f.fuller}, slog.New(slog.DiscardHandler)))
	f.setStore(lossy{f.store, &f.full, &f.fuller})
}

// restart is the next daemon, which has ended all operations when it returns. It
// returns what became of them.
func (f *lossyWorld) restart() map[string]error {
	f.t.Helper()
	f.leave()
	f.build()
	f.wrap()
	if err := f.Recover(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	ended := map[string]error{}
	for _, row := range f.Ops.List() {
		o, err := f.Ops.Get(row.ID)
		if err != nil {
			f.t.Fatal(err)
		}
		ended[row.Kind] = o.Wait(f.t.Context())
	}
	return ended
}

// TestUnrecordedCreationIsNeverUndone: what a client was told that it is done stays,
// however often the daemon is restarted, and whether or not the disk is full then.
func TestUnrecordedCreationIsNeverUndone(t *testing.T) {
	for _, start := range []bool{false, true} {
		w := newLossyWorld(t)
		w.full.Store(true)
		w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: start}))
		before := w.show("dev")
		w.fuller.Store(true)
		for range 3 {
			for kind, err := range w.restart() {
				if err != nil {
					t.Errorf("%s: %v", kind, err)
				}
			}
			if v := w.show("dev"); v.State != before.State || v.PID != before.PID {
				t.Fatalf("it is %s, pid %d; was %s, pid %d", v.State, v.PID, before.State, before.PID)
			}
			if _, err := os.Stat(w.disks.Path(before.ID)); err != nil {
				t.Fatal(err)
			}
		}
		if start {
			w.health("dev")
		}
		w.full.Store(false)
		w.fuller.Store(false)
	}
}

// TestInterruptedPrune: the next daemon prunes what was listed, one VM or more, but not
// what was started since.
func TestInterruptedPrune(t *testing.T) {
	for name, c := range map[string]struct {
		vms   []string
		later func(w *lossyWorld)
		left  []string
	}{
		"one VM":           {[]string{"a"}, func(*lossyWorld) {}, nil},
		"two VMs":          {[]string{"a", "b"}, func(*lossyWorld) {}, nil},
		"one that runs":    {[]string{"a"}, startA, []string{"a"}},
		"one that ran":     {[]string{"a"}, func(w *lossyWorld) { startA(w); w.must(w.Stop(t.Context(), "a", api.StopVM{})) }, []string{"a"}},
		"one of two ran":   {[]string{"a", "b"}, func(w *lossyWorld) { startA(w); w.must(w.Stop(t.Context(), "a", api.StopVM{})) }, []string{"a"}},
		"one that is gone": {[]string{"a"}, func(w *lossyWorld) { w.must(w.Delete(t.Context(), "a", false)) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newLossyWorld(t)
			var ids []string
			for _, vm := range c.vms {
				w.must(w.Create(t.Context(), api.CreateVM{Name: vm}))
				ids = append(ids, w.show(vm).ID)
			}
			row := api.Operation{ID: "0123456789ab", Kind: records.KindPrune, Target: strings.Join(ids, ","), StartedAt: time.Now()}
			if err := w.store.BeginOperation(t.Context(), row); err != nil {
				t.Fatal(err)
			}
			c.later(w)
			if err := w.restart()[records.KindPrune]; err != nil {
				t.Error(err)
			}
			var left []string
			all, _ := w.List(t.Context())
			for _, v := range all {
				left = append(left, v.Name)
			}
			if !slices.Equal(left, c.left) {
				t.Errorf("left: %v, want %v", left, c.left)
			}
		})
	}
}

func startA(w *lossyWorld) { w.must(w.Start(context.Background(), "a", api.StartVM{})) }

// TestLaterWorkFencesEarlier: an operation that is over does nothing to a VM whose life
// has gone on.
func TestLaterWorkFencesEarlier(t *testing.T) {
	for name, c := range map[string]struct {
		earlier, later func(w *lossyWorld)
		fault          string
		runs           bool
	}{
		"created, then started": {
			func(w *lossyWorld) { w.must(w.Create(t.Context(), api.CreateVM{Name: "dev"})) },
			func(w *lossyWorld) { w.must(w.Start(t.Context(), "dev", api.StartVM{})) }, "", true},
		"run, then stopped": {
			func(w *lossyWorld) { w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true})) },
			func(w *lossyWorld) { w.must(w.Stop(t.Context(), "dev", api.StopVM{})) }, "", false},
		"started in vain, then started": {
			func(w *lossyWorld) {
				w.fault("exit")
				if err := w.do(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true})); err == nil {
					t.Error("a guest that panics starts")
				}
				w.fault("")
			},
			func(w *lossyWorld) { w.must(w.Start(t.Context(), "dev", api.StartVM{})) }, "", true},
		"started in vain, then left": {
			func(w *lossyWorld) {
				w.fault("exit")
				if err := w.do(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true})); err == nil {
					t.Error("a guest that panics starts")
				}
				w.fault("")
			},
			func(*lossyWorld) {}, "", false},
		"stopped, then started": {
			func(w *lossyWorld) {
				w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
				w.must(w.Stop(t.Context(), "dev", api.StopVM{}))
			},
			func(w *lossyWorld) { w.must(w.Start(t.Context(), "dev", api.StartVM{})) }, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newLossyWorld(t)
			w.full.Store(true)
			c.earlier(w)
			w.full.Store(false)
			c.later(w)
			// The end of the earlier one is lost for good.
			if _, err := w.store.UnfinishedOperations(t.Context()); err != nil {
				t.Fatal(err)
			}
			before := w.show("dev")
			for range 2 {
				w.restart()
				if v := w.show("dev"); v.State != before.State || v.PID != before.PID || (v.PID > 0) != c.runs {
					t.Fatalf("it is %s, pid %d; was %s, pid %d", v.State, v.PID, before.State, before.PID)
				}
			}
		})
	}
}

// TestGraceOutlivesTheDaemon: a stop that is taken up has the time that it was given.
func TestGraceOutlivesTheDaemon(t *testing.T) {
	w := newWorld(t)
	w.fault("deaf")
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	began := time.Now()
	if _, err := w.Stop(t.Context(), "dev", api.StopVM{GraceSeconds: 2}); err != nil {
		t.Fatal(err)
	}
	w.leave()
	w.enter()
	o, err := w.Ops.Get(w.Ops.List()[0].ID)
	w.must(o, err)
	if took := time.Since(began); took < 2*time.Second || took > 6*time.Second {
		t.Errorf("the guest had %s", took)
	}
	if v := w.show("dev"); v.Reason != "killed: it did not shut down within 2s" {
		t.Errorf("the reason is %q", v.Reason)
	}
}

// TestStopIsOvertaken: who wants a VM dead does not wait for its grace, and the stop is
// done then.
func TestStopIsOvertaken(t *testing.T) {
	for name, overtake := range map[string]func(w *world) (*op.Op, error){
		"kill":           func(w *world) (*op.Op, error) { return w.Kill(t.Context(), "dev") },
		"delete --force": func(w *world) (*op.Op, error) { return w.Delete(t.Context(), "dev", true) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.fault("deaf")
			w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
			began := time.Now()
			stop, err := w.Stop(t.Context(), "dev", api.StopVM{GraceSeconds: 120})
			if err != nil {
				t.Fatal(err)
			}
			w.must(overtake(w))
			w.must(stop, nil)
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %s", took)
			}
			if v, err := w.Show(t.Context(), "dev"); name == "kill" && (v.State != api.StateStopped || v.Reason != "killed") || name != "kill" && err == nil {
				t.Errorf("it is %s (%s), %v", v.State, v.Reason, err)
			}
		})
	}
}

// TestRestartIsOvertaken: a VM that is killed while it is to start again stays dead.
func TestRestartIsOvertaken(t *testing.T) {
	w := newWorld(t)
	w.fault("deaf")
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	restart, err := w.Restart(t.Context(), "dev", api.StartVM{})
	if err != nil {
		t.Fatal(err)
	}
	w.must(w.Kill(t.Context(), "dev"))
	if err := restart.Wait(t.Context()); api.KindOf(err) != api.KindCanceled || !strings.Contains(err.Error(), "restarting the VM was overtaken by a request to kill it") {
		t.Errorf("the restart: %v", err)
	}
	if v := w.show("dev"); v.State != api.StateStopped || v.PID != 0 {
		t.Errorf("it is %s", v.State)
	}
}

// TestDeletionJoinsTheDaemonsOwn: who removes a VM that goes by itself is not refused.
func TestDeletionJoinsTheDaemonsOwn(t *testing.T) {
	for range 10 {
		w := newWorld(t)
		w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true, AutoRemove: true}))
		w.must(w.Kill(t.Context(), "dev"))
		if err := w.do(w.Delete(t.Context(), "dev", true)); err != nil && api.KindOf(err) != api.KindNotFound {
			t.Errorf("it is refused: %v", err)
		}
		w.untilGone("dev")
	}
}

// TestCancelledStopSaysWhatGoesOn: a guest cannot be asked to stay.
func TestCancelledStopSaysWhatGoesOn(t *testing.T) {
	w := newWorld(t)
	w.fault("deaf")
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	stop, err := w.Stop(t.Context(), "dev", api.StopVM{GraceSeconds: 120})
	if err != nil {
		t.Fatal(err)
	}
	r := w.table.ByID(w.show("dev").ID).Run()
	for !r.Asked() {
		time.Sleep(time.Millisecond)
	}
	if err := w.Ops.Cancel(stop.ID()); err != nil {
		t.Fatal(err)
	}
	err = stop.Wait(t.Context())
	if api.KindOf(err) != api.KindCanceled || strings.Contains(err.Error(), "nothing is left") || !strings.Contains(err.Error(), "stops when it has") {
		t.Errorf("it says %v", err)
	}
}

// TestGoalThatStandsIsDone: the daemon died when all was done but the record.
func TestGoalThatStandsIsDone(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev"}))
	began := time.Now()
	id := w.show("dev").ID
	params, _ := json.Marshal(api.CommitVM{Name: "committed"})
	for _, row := range []api.Operation{
		{ID: "1", Kind: KindDelete, Target: "0123456789ab", Step: "record", StartedAt: began},
		{ID: "2", Kind: records.KindCommit, Target: id, Step: "image", StartedAt: began, Params: string(params)},
		{ID: "3", Kind: records.KindCommit, Target: id, Step: "image", StartedAt: began.Add(time.Hour), Params: string(params)},
		{ID: "4", Kind: "image.import", Target: "imported", Step: "image", StartedAt: began},
		{ID: "5", Kind: "image.import", Target: "lost", Step: "image", StartedAt: began},
		{ID: "6", Kind: records.KindStop, Target: "0123456789ab", Step: "shutdown", StartedAt: began},
	} {
		if err := w.store.BeginOperation(t.Context(), row); err != nil {
			t.Fatal(err)
		}
	}
	w.leave()
	w.build()
	w.setImages(committedImages{fakeImages{w.caches}, began.Add(time.Minute)})
	w.resumer.outcomeOf = func(u op.Unfinished) (*api.Result, bool) {
		return &api.Result{Image: &api.Image{Source: u.Target}}, u.Target == "imported"
	}
	if err := w.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]api.Kind{"1": "", "2": "", "3": api.KindInternal, "4": "", "5": api.KindInternal, "6": api.KindNotFound} {
		o, err := w.Ops.Get(id)
		if err == nil {
			err = o.Wait(t.Context())
		}
		if api.KindOf(err) != want || err != nil && strings.Contains(err.Error(), "nothing is left") {
			t.Errorf("operation %s: %v", id, err)
		}
	}
}

// committedImages have one image more, made at a time.
type committedImages struct {
	fakeImages
	at time.Time
}

func (c committedImages) Get(ref string) (api.Image, error) {
	if ref == "committed" {
		return api.Image{Names: []string{ref}, CreatedAt: c.at}, nil
	}
	return c.fakeImages.Get(ref)
}

// TestNoPhantomRuns: a guest that answered and died while its start was taken up does not
// run.
func TestNoPhantomRuns(t *testing.T) {
	for range 3 {
		w := newWorld(t)
		w.fault("slow=2s")
		o, err := w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true})
		if err != nil {
			t.Fatal(err)
		}
		untilStep(t, o, "agent")
		w.leave()
		w.build()
		w.setStore(held{w.store, func() {
			r := w.table.ByID(w.vmIDs()[0]).LastRun()
			<-r.Up()
			_ = r.Machine().Kill(context.Background())
			<-r.Gone()
		}})
		if err := w.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		ro, err := w.Ops.Get(w.Ops.List()[0].ID)
		if err == nil {
			err = ro.Wait(t.Context())
		}
		if v := w.show("dev"); err == nil || v.State != api.StateFailed || v.PID != 0 {
			t.Fatalf("it is %s, pid %d; %v", v.State, v.PID, err)
		}
	}
}

func (w *world) vmIDs() (ids []string) {
	for _, at := range w.table.Snapshots() {
		ids = append(ids, at.VM.ID)
	}
	return ids
}

// held is a store that takes its time over what is unfinished.
type held struct {
	Store
	before func()
}

func (h held) UnfinishedOperations(ctx context.Context) ([]op.Unfinished, error) {
	all, err := h.Store.UnfinishedOperations(ctx)
	h.before()
	return all, err
}

// slow is a store on a disk that is slow to write.
type slow struct{ Store }

const slowWrite = time.Second

func (s slow) PutVM(ctx context.Context, v api.VM) error {
	time.Sleep(slowWrite)
	return s.Store.PutVM(ctx, v)
}

func (s slow) AddVM(ctx context.Context, v api.VM) error {
	time.Sleep(slowWrite)
	return s.Store.AddVM(ctx, v)
}

func (s slow) DeleteVM(ctx context.Context, id string) error {
	time.Sleep(slowWrite)
	return s.Store.DeleteVM(ctx, id)
}

// TestSlowDiskHoldsUpNobodyElse: while a VM is being recorded, others are used.
func TestSlowDiskHoldsUpNobodyElse(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "a", Start: true}))
	w.must(w.Create(t.Context(), api.CreateVM{Name: "b"}))
	w.setStore(slow{w.store})
	for name, work := range map[string]func() error{
		"rename": func() error { _, err := w.Rename(t.Context(), "b", "c"); return err },
		"create": func() error { return w.do(w.Create(t.Context(), api.CreateVM{Name: "d"})) },
		"delete": func() error { return w.do(w.Delete(t.Context(), "b", true)) },
	} {
		done := make(chan error, 1)
		go func() { done <- work() }()
		for ended := false; !ended; {
			began := time.Now()
			if _, err := w.List(t.Context()); err != nil {
				t.Error(err)
			}
			w.health("a")
			if took := time.Since(began); took > slowWrite/2 {
				t.Errorf("%s: others waited %s", name, took)
			}
			select {
			case err := <-done:
				if ended = true; err != nil && api.KindOf(err) != api.KindNotFound {
					t.Errorf("%s: %v", name, err)
				}
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	w.setStore(w.store)
}

// TestNothingBeginsDuringCreation: a VM that is being created is busy from the first
// moment on.
func TestNothingBeginsDuringCreation(t *testing.T) {
	w := newWorld(t)
	w.caches.hold = make(chan struct{}) // no creation ends
	for range 20 {
		var all sync.WaitGroup
		stop := make(chan struct{})
		for range 2 {
			all.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if _, err := w.Start(t.Context(), "dev", api.StartVM{}); err == nil {
						t.Error("a VM is started that is being created")
					}
				}
			})
		}
		_, err := w.Create(t.Context(), api.CreateVM{Name: "dev", Image: "debian"})
		close(stop)
		all.Wait()
		if err != nil {
			t.Fatal(err)
		}
		w.must(w.Delete(t.Context(), "dev", true))
	}
}

// TestRemovedAfterALossOfPower: a VM that was to go when it stops goes, also when nobody
// saw that; one that an older version has kept stays.
func TestRemovedAfterALossOfPower(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true, AutoRemove: true}))
	w.must(w.Create(t.Context(), api.CreateVM{Name: "waits", AutoRemove: true}))
	w.must(w.Create(t.Context(), api.CreateVM{Name: "kept", Start: true}))
	w.must(w.Kill(t.Context(), "kept"))
	kept := w.table.ByID(w.show("kept").ID)
	if err := kept.Update(t.Context(), func(v *api.VM) { v.AutoRemove, v.Reason = true, reconcile.VanishedReason }); err != nil {
		t.Fatal(err)
	}
	pid := w.show("dev").PID
	w.Ops.Close()
	w.Service.Close() // nobody looks
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.store.Close()
	w.enter()
	w.untilGone("dev")
	w.show("waits")
	w.show("kept")
}
