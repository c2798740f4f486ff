package vm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"banger/api"
	"banger/internal/host/proc"
	"banger/internal/op"
	"banger/internal/paths"
	"banger/internal/vm/records"
)

func TestLife(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.must(w.Create(ctx, api.CreateVM{Name: "dev", Start: true}))
	v := w.show("dev")
	if v.State != api.StateRunning || v.PID == 0 || v.BootID == "" || v.StartedAt == nil || v.DiskDriver != "copy" || len(v.Timing) == 0 {
		t.Errorf("after its start: %+v", v)
	}
	w.health("dev")
	w.health(v.ID)
	if err := w.do(w.Start(ctx, "dev", api.StartVM{})); api.KindOf(err) != api.KindConflict {
		t.Errorf("starting a running VM gives %v", err)
	}
	if err := w.do(w.Delete(ctx, "dev", false)); api.KindOf(err) != api.KindConflict {
		t.Errorf("deleting a running VM gives %v", err)
	}
	waited := make(chan api.VM, 1)
	go func() {
		v, err := w.Wait(ctx, "dev")
		if err != nil {
			t.Error(err)
		}
		waited <- v
	}()
	w.must(w.Stop(ctx, "dev", api.StopVM{}))
	if v := <-waited; v.State != api.StateStopped {
		t.Errorf("Wait returned with %s", v.State)
	}
	v = w.show("dev")
	if v.State != api.StateStopped || v.PID != 0 || v.BootID != "" || v.Reason != "stopped" || v.StoppedAt == nil {
		t.Errorf("after its stop: %+v", v)
	}
	if _, err := w.DialGuest(ctx, "dev"); api.KindOf(err) != api.KindConflict {
		t.Errorf("dialling a stopped VM gives %v", err)
	}
	w.must(w.Start(ctx, "dev", api.StartVM{}))
	w.health("dev")
	w.must(w.Restart(ctx, "dev", api.StartVM{}))
	w.health("dev")
	w.must(w.Kill(ctx, "dev"))
	if v := w.show("dev"); v.State != api.StateStopped || v.Reason != "killed" {
		t.Errorf("after its kill: %+v", v)
	}
	w.must(w.Restart(ctx, "dev", api.StartVM{})) // one that is stopped is started
	w.must(w.Delete(ctx, "dev", true))
	w.nothingLeft()
}

// TestUnsetDiskIsUnset: only a size that nobody asked for is made to fit the image, also
// if the one that was asked for is the default, and wherever the image comes from.
func TestUnsetDiskIsUnset(t *testing.T) {
	w := newWorld(t)
	w.caches.needs = 2 << 30 // the default is 1 GiB
	w.caches.hold = make(chan struct{})
	o, err := w.Create(t.Context(), api.CreateVM{Name: "unset", Image: "debian"})
	if err != nil {
		t.Fatal(err)
	}
	if v := w.show("unset"); v.DiskBytes != 0 {
		t.Errorf("%d bytes before the image is known", v.DiskBytes)
	}
	close(w.caches.hold)
	w.must(o, nil)
	if v := w.show("unset"); v.DiskBytes != 2<<30 {
		t.Errorf("it has %d bytes", v.DiskBytes)
	}
	for _, cached := range []bool{true, false} {
		w.caches.mu.Lock()
		w.caches.pulled = cached
		w.caches.mu.Unlock()
		err := w.do(w.Create(t.Context(), api.CreateVM{Name: "asked", Image: "debian", DiskBytes: 1 << 30}))
		if api.KindOf(err) != api.KindInvalid {
			t.Errorf("the default's size, asked for, with the image there: %t: %v", cached, err)
		}
	}
}

func TestCreateWithoutStart(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Image: "debian"})) // pulled on the way
	all, err := w.List(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	v := all[0]
	if v.State != api.StateStopped || v.PID != 0 || v.ImageDigest != digest || records.CheckName(v.Name) != nil {
		t.Errorf("got %+v", v)
	}
	if used := w.InUse(digest); len(used) != 1 || used[0] != v.Name {
		t.Errorf("in use by %v", used)
	}
}

func TestBadRequestsTouchNothing(t *testing.T) {
	w := newWorld(t)
	for name, tc := range map[string]struct {
		req  api.CreateVM
		kind api.Kind
		says string
	}{
		"bad name":       {api.CreateVM{Name: "No!"}, api.KindInvalid, `"No!"`},
		"like an id":     {api.CreateVM{Name: "0123456789ab"}, api.KindInvalid, "id"},
		"no vCPUs":       {api.CreateVM{VCPUs: -1}, api.KindInvalid, "1 to 8"},
		"many vCPUs":     {api.CreateVM{VCPUs: 9}, api.KindInvalid, "1 to 8"},
		"little memory":  {api.CreateVM{MemoryBytes: mib}, api.KindInvalid, "128 to 4096 MiB"},
		"huge memory":    {api.CreateVM{MemoryBytes: 1 << 50}, api.KindInvalid, "128 to 4096 MiB"},
		"odd memory":     {api.CreateVM{MemoryBytes: 256*mib + 1}, api.KindInvalid, "whole number of MiB"},
		"negative disk":  {api.CreateVM{DiskBytes: -mib}, api.KindInvalid, "disk"},
		"huge disk":      {api.CreateVM{DiskBytes: 1 << 60}, api.KindInvalid, "16 TiB"},
		"16 TiB":         {api.CreateVM{DiskBytes: 16 << 40}, api.KindInvalid, "smaller than 16 TiB"},
		"small disk":     {api.CreateVM{DiskBytes: 32 * mib}, api.KindInvalid, "at least 64 MiB"},
		"unknown image":  {api.CreateVM{Image: "nope"}, api.KindNotFound, `"nope"`},
		"unknown kernel": {api.CreateVM{Kernel: "nope"}, api.KindNotFound, `"nope"`},
		"unknown driver": {api.CreateVM{Driver: "nope"}, api.KindInvalid, `"nope"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.Create(t.Context(), tc.req)
			if api.KindOf(err) != tc.kind || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("kind %s: %v", api.KindOf(err), err)
			}
			w.nothingLeft()
		})
	}
}

func TestTakenName(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev"}))
	if _, err := w.Create(t.Context(), api.CreateVM{Name: "dev"}); api.KindOf(err) != api.KindExists {
		t.Errorf("got %v", err)
	}
	w.must(w.Create(t.Context(), api.CreateVM{Name: "other"}))
	if _, err := w.Rename(t.Context(), "other", "dev"); api.KindOf(err) != api.KindExists {
		t.Errorf("got %v", err)
	}
	if v, err := w.Rename(t.Context(), "other", "third"); err != nil || v.Name != "third" {
		t.Errorf("got %+v, %v", v, err)
	}
}

func TestGuestThatNeverAnswers(t *testing.T) {
	for fault, says := range map[string]string{"mute": "did not answer", "exit": "ended while the guest booted"} {
		t.Run(fault, func(t *testing.T) {
			w := newWorld(t)
			w.bootTimeout /= 20
			w.fault(fault)
			err := w.do(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
			if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "Linux version 0.0-fake") {
				t.Errorf("error is %v", err)
			}
			if hint := api.AsError(err).Hint; !strings.Contains(hint, "banger vm logs dev") {
				t.Errorf("hint is %q", hint)
			}
			v := w.show("dev")
			if v.State != api.StateFailed || v.PID != 0 || !strings.Contains(v.Reason, says) {
				t.Errorf("it is kept as %+v", v)
			}
			w.fault("")
			w.must(w.Start(t.Context(), "dev", api.StartVM{}))
			w.health("dev")
		})
	}
}

func TestFailedStartLeavesNothing(t *testing.T) {
	w := newWorld(t)
	w.fault("refuse")
	if err := w.do(w.Create(t.Context(), api.CreateVM{Start: true})); err == nil {
		t.Error("no error")
	}
	w.nothingLeft()
}

func TestFailedPullLeavesNothing(t *testing.T) {
	w := newWorld(t)
	w.caches.fail = api.Errorf(api.KindNoSpace, "no room for the image")
	err := w.do(w.Create(t.Context(), api.CreateVM{Image: "debian", Start: true}))
	if api.KindOf(err) != api.KindNoSpace {
		t.Errorf("got %v", err)
	}
	w.nothingLeft()
}

func TestCancelledCreateLeavesNothing(t *testing.T) {
	for name, prepare := range map[string]func(w *world) api.CreateVM{
		"while pulling": func(w *world) api.CreateVM {
			w.caches.hold = make(chan struct{})
			return api.CreateVM{Image: "debian", Start: true}
		},
		"while booting": func(w *world) api.CreateVM {
			w.fault("mute")
			return api.CreateVM{Start: true}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			req := prepare(w)
			o, err := w.Create(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			stage := map[string]string{"while pulling": "image", "while booting": "agent"}[name]
			untilStep(t, o, stage)
			if err := w.Ops.Cancel(o.ID()); err != nil {
				t.Fatal(err)
			}
			if err := o.Wait(t.Context()); api.KindOf(err) != api.KindCanceled {
				t.Errorf("got %v", err)
			}
			w.nothingLeft()
		})
	}
}

// untilStep waits until an operation is at a step. Steps that report say so.
func untilStep(t *testing.T, o *op.Op, step string) {
	t.Helper()
	for o.Snapshot().Step != step {
		select {
		case <-o.Done():
			t.Fatalf("it ended before step %s: %+v", step, o.Snapshot())
		default:
		}
	}
}

func TestOneOperationAtATime(t *testing.T) {
	w := newWorld(t)
	w.caches.hold = make(chan struct{})
	o, err := w.Create(t.Context(), api.CreateVM{Name: "dev", Image: "debian"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Start(t.Context(), "dev", api.StartVM{}); api.KindOf(err) != api.KindConflict || !strings.Contains(err.Error(), "it is busy (creating)") {
		t.Errorf("got %v", err)
	}
	close(w.caches.hold)
	w.must(o, nil)
	w.must(w.Start(t.Context(), "dev", api.StartVM{}))
}

func TestMany(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := w.do(w.Create(t.Context(), api.CreateVM{Start: true})); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	all, _ := w.List(t.Context())
	names := map[string]bool{}
	for _, v := range all {
		names[v.Name] = true
		w.health(v.Name)
	}
	if len(names) != 8 {
		t.Errorf("names: %v", names)
	}
}

func TestAutoRemove(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true, AutoRemove: true}))
	w.must(w.Stop(t.Context(), "dev", api.StopVM{}))
	w.settleOps()
	w.nothingLeft()
}

// settleOps waits for operations that the service started by itself.
func (w *world) settleOps() {
	for _, row := range w.Ops.List() {
		if o, err := w.Ops.Get(row.ID); err == nil {
			<-o.Done()
		}
	}
}

func TestPruneTakesOnlyWhatIsStopped(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "runs", Start: true}))
	w.must(w.Create(t.Context(), api.CreateVM{Name: "stopped"}))
	o, err := w.Prune(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var removed []string
	if err := o.Follow(t.Context(), func(e api.Event) error {
		if e.Result != nil {
			removed = e.Result.Pruned.Removed
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(removed) != 1 || removed[0] != "stopped" {
		t.Errorf("removed %v", removed)
	}
	if all, _ := w.List(t.Context()); len(all) != 1 || all[0].Name != "runs" {
		t.Errorf("left: %+v", all)
	}
}

func TestGuestsSurviveTheDaemon(t *testing.T) {
	handle := func(w *world, id string) string { return filepath.Join(w.Paths.VM(id), paths.VMHandles) }
	for name, spoil := range map[string]func(path string) error{
		"handle intact":  func(string) error { return nil },
		"handle gone":    os.Remove,
		"handle garbage": func(path string) error { return os.WriteFile(path, []byte("\x00{"), 0o600) },
		"handle lies": func(path string) error {
			return os.WriteFile(path, []byte(`{"version":1,"machine":{"pid":1,"start_time":1}}`), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
			before := w.show("dev")
			w.leave()
			if err := spoil(handle(w, before.ID)); err != nil {
				t.Fatal(err)
			}
			w.enter()
			after := w.show("dev")
			if after.PID != before.PID || after.State != api.StateRunning || after.BootID != before.BootID {
				t.Errorf("before %+v\nafter  %+v", before, after)
			}
			w.health("dev")
		})
	}
}

func TestVanishedGuestIsStoppedWithTheReason(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	vmm, err := proc.Open(w.show("dev").PID)
	if err != nil {
		t.Fatal(err)
	}
	w.leave()
	err = vmm.Kill(t.Context(), time.Minute) // waits for its end
	vmm.Close()
	if err != nil {
		t.Fatal(err)
	}
	w.enter()
	if v := w.show("dev"); v.State != api.StateStopped || !strings.Contains(v.Reason, "gone") {
		t.Errorf("got %+v", v)
	}
}

func TestVMMThatEndsByItself(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	if err := syscall.Kill(w.show("dev").PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	v, err := w.Wait(t.Context(), "dev")
	if err != nil || v.State != api.StateStopped || !strings.Contains(v.Reason, "status 137") {
		t.Errorf("got %+v, %v", v, err)
	}
}

// TestInterruptedEverywhere leaves an operation at each of its steps, as a kill
// of the daemon would, and enters again.
func TestInterruptedEverywhere(t *testing.T) {
	for _, step := range []string{"kernel", "image", "disk", "vmm", "agent"} {
		for _, undoing := range []bool{false, true} {
			name := step
			if undoing {
				name += " while undoing"
			}
			t.Run(name, func(t *testing.T) {
				w := newWorld(t)
				w.interrupt(t, step, undoing)
				w.enter()
				w.settleOps()
				if undoing {
					w.nothingLeft()
					return
				}
				if v := w.show("dev"); v.State != api.StateRunning {
					t.Errorf("it was not finished: %+v", v)
				}
				w.health("dev")
			})
		}
	}
}

// interrupt runs the steps of a vm.run up to and with the named one, and leaves.
func (w *world) interrupt(t *testing.T, last string, undoing bool) {
	t.Helper()
	v, err := w.resolve(t.Context(), api.CreateVM{Name: "dev", Image: "debian"})
	if err != nil {
		t.Fatal(err)
	}
	e, err := w.table.Add(t.Context(), v, false, records.KindRun, false)
	if err != nil {
		t.Fatal(err)
	}
	row := api.Operation{ID: op.NewID(), Kind: records.KindRun, Target: v.ID, Step: "kernel"}
	err = w.store.BeginOperation(t.Context(), row)
	for _, s := range w.createPlan(e, records.KindRun).Steps {
		err = errors.Join(err, w.store.EnterStep(t.Context(), row.ID, s.Name, undoing), s.Do(t.Context(), func(api.Progress) {}))
		if s.Name == last {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	w.leave()
}

func TestInterruptedDeleteIsFinished(t *testing.T) {
	for _, step := range []string{"kill", "disk", "record"} {
		t.Run(step, func(t *testing.T) {
			w := newWorld(t)
			w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
			row := w.left(KindDelete, w.show("dev").ID, step)
			if step != "kill" {
				w.must(w.Kill(t.Context(), "dev"))
			}
			if step == "record" {
				if err := os.RemoveAll(w.Paths.VM(row.Target)); err != nil {
					t.Fatal(err)
				}
			}
			w.leave()
			w.enter()
			w.settleOps()
			w.nothingLeft()
		})
	}
}

func TestStrayDirectoryIsReportedNotRemoved(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(w.Paths.VMs(), "0123456789ab")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	w.leave()
	w.enter()
	if got := w.inventory.Strays(); len(got) != 1 || got[0] != "0123456789ab" {
		t.Errorf("strays: %v", got)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Error(err)
	}
}

func TestStopKillsAGuestThatDoesNot(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	pid := w.show("dev").PID
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil { // hangs
		t.Fatal(err)
	}
	w.must(w.Stop(context.Background(), "dev", api.StopVM{GraceSeconds: 1}))
	if v := w.show("dev"); v.State != api.StateStopped || !strings.Contains(v.Reason, "did not shut down") {
		t.Errorf("got %+v", v)
	}
}

func TestForcedDeleteCancelsAStart(t *testing.T) {
	w := newWorld(t)
	w.fault("mute")
	for _, created := range []bool{false, true} {
		var o *op.Op
		var err error
		if created {
			w.must(w.Create(t.Context(), api.CreateVM{Name: "dev"}))
			o, err = w.Start(t.Context(), "dev", api.StartVM{})
		} else {
			o, err = w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true})
		}
		if err != nil {
			t.Fatal(err)
		}
		untilStep(t, o, "agent")
		if err := w.do(w.Delete(t.Context(), "dev", false)); api.KindOf(err) != api.KindConflict {
			t.Errorf("without force: %v", err)
		}
		w.must(w.Delete(t.Context(), "dev", true))
		if err := o.Wait(t.Context()); api.KindOf(err) != api.KindCanceled {
			t.Errorf("the start ended with %v", err)
		}
		w.nothingLeft()
	}
}
