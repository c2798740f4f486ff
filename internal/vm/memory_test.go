package vm

import (
	"sync"
	"testing"

	"banger/api"
)

// memoryWorld is a world on a host with 1 GiB for VMs of 256 MiB.
func memoryWorld(t *testing.T) *world {
	w := newWorld(t)
	w.hostMemory(1 << 30)
	return w
}

func (w *world) hostMemory(bytes int64) {
	w.table.Memory = func() Memory { return Memory{Bytes: bytes, Whose: "this host"} }
}

// refusedFor proves that a start is refused with just those words, and that it left nothing.
func (w *world) refusedFor(err error, message, hint string) {
	w.t.Helper()
	e := api.AsError(err)
	if e == nil || e.Kind != api.KindConflict || e.Message != message || e.Hint != hint {
		w.t.Errorf("it says %+v", e)
	}
	if left, err := w.store.UnfinishedOperations(w.t.Context()); err != nil || len(left) > 0 {
		w.t.Errorf("there are operations: %v, %v", left, err)
	}
}

// TestMemoryOfAllVMs: what runs has no more memory together than the host, unless it is
// forced. What is refused is refused before anything is touched.
func TestMemoryOfAllVMs(t *testing.T) {
	w := memoryWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "large", MemoryBytes: 512 * mib, Start: true}))
	w.must(w.Create(t.Context(), api.CreateVM{Name: "small", Start: true}))
	w.must(w.Create(t.Context(), api.CreateVM{Name: "other", MemoryBytes: 512 * mib})) // has none yet
	const why, hint = ": it asks for 512 MiB of memory, the others that run have 768 MiB, and this host has 1 GiB",
		"banger vm stop small, or --force: the host may then run out of memory, and Linux may kill a VM"
	_, err := w.Create(t.Context(), api.CreateVM{Name: "new", MemoryBytes: 512 * mib, Start: true})
	w.refusedFor(err, "cannot start a new VM"+why, hint)
	if all, _ := w.List(t.Context()); len(all) != 3 {
		t.Errorf("there are %d VMs", len(all))
	}
	_, err = w.Create(t.Context(), api.CreateVM{MemoryBytes: 512 * mib, Start: true})
	w.refusedFor(err, "cannot start a new VM"+why, hint)
	_, err = w.Start(t.Context(), "other", api.StartVM{})
	w.refusedFor(err, "cannot start VM other"+why, hint)
	_, err = w.Restart(t.Context(), "other", api.StartVM{})
	w.refusedFor(err, "cannot start VM other"+why, hint)

	// What fits still fits, and what runs has its memory already.
	w.must(w.Create(t.Context(), api.CreateVM{Name: "fits", Start: true}))
	w.must(w.Restart(t.Context(), "large", api.StartVM{}))
	w.must(w.Start(t.Context(), "other", api.StartVM{Force: true}))
	w.must(w.Restart(t.Context(), "other", api.StartVM{})) // also when there is too much
	w.must(w.Create(t.Context(), api.CreateVM{Name: "forced", Start: true, Force: true}))
	w.must(w.Stop(t.Context(), "other", api.StopVM{}))
	w.must(w.Stop(t.Context(), "forced", api.StopVM{}))
	w.must(w.Restart(t.Context(), "forced", api.StartVM{Force: true}))

	// A limit that is smaller than a VM that runs.
	w.must(w.Kill(t.Context(), "forced"))
	for _, name := range []string{"small", "fits", "large"} {
		w.must(w.Kill(t.Context(), name))
	}
	w.hostMemory(384 * mib)
	_, err = w.Start(t.Context(), "large", api.StartVM{})
	w.refusedFor(err, "cannot start VM large: it asks for 512 MiB of memory, no other VM runs, and this host has 384 MiB",
		"--force starts it anyway, or give it less: --memory 1G")
}

// TestMemoryOfStartsAtOnce: of a crowd of starts that do not all fit, no more are let in
// than fit.
func TestMemoryOfStartsAtOnce(t *testing.T) {
	w := memoryWorld(t)
	for _, name := range []string{"a", "b", "c"} {
		w.must(w.Create(t.Context(), api.CreateVM{Name: name}))
	}
	var all sync.WaitGroup
	errs := make([]error, 6)
	for n := range errs {
		all.Go(func() {
			if n < 3 {
				errs[n] = w.do(w.Start(t.Context(), string(rune('a'+n)), api.StartVM{}))
			} else {
				errs[n] = w.do(w.Create(t.Context(), api.CreateVM{Start: true}))
			}
		})
	}
	all.Wait()
	refused := 0
	for _, err := range errs {
		switch {
		case err == nil:
		case api.KindOf(err) == api.KindConflict:
			refused++
		default:
			t.Error(err)
		}
	}
	if refused != 2 {
		t.Errorf("%d of 6 starts were refused, not 2", refused)
	}
}

// TestRecoveredVMsAreNotRefused: what runs is found again, and what was being started is
// started, however little memory there is by then.
func TestRecoveredVMsAreNotRefused(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "runs", Start: true}))
	w.fault("slow=500ms")
	o, err := w.Create(t.Context(), api.CreateVM{Name: "starts", Start: true})
	if err != nil {
		t.Fatal(err)
	}
	untilStep(t, o, "agent")
	w.leave()
	w.build()
	w.hostMemory(1)
	if err := w.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	o, err = w.Ops.Get(o.ID())
	w.must(o, err)
	w.health("runs")
	w.health("starts")
	if _, err := w.Create(t.Context(), api.CreateVM{Name: "new", Start: true}); api.KindOf(err) != api.KindConflict {
		t.Errorf("a new one: %v", err)
	}
}
