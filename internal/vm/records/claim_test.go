package records

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"

	"banger/api"
	"banger/internal/vm/instance"
)

// noStore records nothing.
type noStore struct{ Store }

func (noStore) AddVM(context.Context, api.VM) error { return nil }
func (noStore) PutVM(context.Context, api.VM) error { return nil }

func (noStore) DeleteVM(context.Context, string) error { return nil }

// table returns a table of VMs with that much memory each. Nothing works on them.
func table(t *testing.T, host int64, memory int64, names ...string) *Table {
	t.Helper()
	all := New(Options{Store: noStore{}, Memory: func() Memory { return Memory{Bytes: host, Whose: "this host"} }, Logger: slog.New(slog.DiscardHandler)})
	for i, name := range names {
		id := "00000000000" + string(rune('0'+i))
		v := api.VM{ID: id, Name: name, State: api.StateStopped, Driver: "fake", MemoryBytes: memory}
		e, err := all.Add(t.Context(), v, false, KindCreate, false)
		if err != nil {
			t.Fatal(err)
		}
		e.Release()
	}
	return all
}

// TestOneClaimAtATime: if several operations claim a VM at once, one of them gets it.
func TestOneClaimAtATime(t *testing.T) {
	all := table(t, 1<<30, 1<<20, "dev")
	for range 100 {
		var claimed atomic.Pointer[Entry]
		var got atomic.Int32
		var claims sync.WaitGroup
		for range 4 {
			claims.Go(func() {
				e, err := all.Claim("dev", KindStop, nil)
				if err == nil {
					got.Add(1)
					claimed.Store(e)
				} else if api.KindOf(err) != api.KindConflict {
					t.Error(err)
				}
			})
		}
		claims.Wait()
		if got.Load() != 1 {
			t.Fatalf("%d have it", got.Load())
		}
		claimed.Load().Release()
	}
}

// TestClaimsOfStartsCountMemory: a VM has its memory from the claim on, and no longer than that.
func TestClaimsOfStartsCountMemory(t *testing.T) {
	all := table(t, 512<<20, 512<<20, "one", "two")
	one, err := all.ClaimStart("one", KindStart, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := all.ClaimStart("two", KindRestart, false, nil); api.KindOf(err) != api.KindConflict {
		t.Errorf("there is memory for two: %v", err)
	}
	if at, err := all.Look("two"); err != nil || at.Busy != "" {
		t.Errorf("it is claimed for %q, %v", at.Busy, err)
	}
	one.Release()
	if _, err := all.ClaimStart("two", KindRestart, false, nil); err != nil {
		t.Error(err)
	}
}

// TestRecoveryIsAClaim: a VM that is being recovered is busy, also when an operation that waited for
// the recovery has ended.
func TestRecoveryIsAClaim(t *testing.T) {
	all := table(t, 1<<30, 1<<20, "dev")
	e, err := all.Find("dev")
	if err != nil {
		t.Fatal(err)
	}
	e.BeginRecovery()
	if all.TakeOver(e.ID(), KindStart) != e {
		t.Fatal("an operation of an earlier daemon cannot wait for it")
	}
	e.Release()
	if at := e.Snapshot(); at.Busy != KindRecover || !at.Recovering || !at.Late {
		t.Errorf("it is %+v", at)
	}
	if _, err := all.Claim("dev", KindStart, nil); api.KindOf(err) != api.KindConflict {
		t.Errorf("it is claimed: %v", err)
	}
	e.FinishRecovery()
	if err := e.AwaitRecovery(t.Context()); err != nil {
		t.Error(err)
	}
	if at := e.Snapshot(); at.Busy != "" || at.Recovering || !at.Late {
		t.Errorf("it is %+v", at)
	}
}

// TestForgottenVMs: a VM that is deleted is not found any more, and its snapshot says so.
func TestForgottenVMs(t *testing.T) {
	all := table(t, 1<<30, 1<<20, "dev")
	e, err := all.Find("dev")
	if err != nil {
		t.Fatal(err)
	}
	if e.Snapshot().Forgotten {
		t.Error("it is forgotten before that")
	}
	if err := e.Forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := all.Find("dev"); api.KindOf(err) != api.KindNotFound || !e.Snapshot().Forgotten || all.ByID(e.ID()) != nil {
		t.Errorf("it is there: %v", err)
	}
}

// TestRestartsCountWhatTheyWillHave: a VM that is restarted with more memory has that from the claim on,
// and it must be there.
func TestRestartsCountWhatTheyWillHave(t *testing.T) {
	all := table(t, 512<<20, 128<<20, "one", "two", "three")
	one, err := all.Find("one")
	if err != nil {
		t.Fatal(err)
	}
	one.SetRun(&instance.Instance{})
	one.vm.State, one.vm.Next = api.StateRunning, &api.NextStart{MemoryBytes: 320 << 20}
	two, err := all.ClaimStart("two", KindStart, false, nil) // with what the first has now
	if err != nil {
		t.Fatal(err)
	}
	if _, err := all.ClaimStart("one", KindRestart, false, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := all.ClaimStart("three", KindStart, false, nil); api.KindOf(err) != api.KindConflict {
		t.Errorf("there is memory for three: %v", err)
	}
	one.Release()
	two.Release()
	three, err := all.ClaimStart("three", KindStart, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	three.vm.MemoryBytes = 256 << 20
	if _, err := all.ClaimStart("one", KindRestart, false, nil); api.KindOf(err) != api.KindConflict {
		t.Errorf("it may have more than there is: %v", err)
	}
}

// TestSettled: a VM gets what it was to have at its next start with the record of its end, even if
// that cannot be recorded, and not before.
func TestSettled(t *testing.T) {
	next := &api.NextStart{VCPUs: 4, MemoryBytes: 1 << 30, DiskBytes: 2 << 30, Network: api.NetworkNone, DiskReason: "why"}
	for _, fails := range []bool{false, true} {
		all := table(t, 4<<30, 1<<20, "dev")
		e, err := all.Find("dev")
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Update(t.Context(), func(v *api.VM) { v.State, v.DiskBytes = api.StateRunning, 1<<30 }); err != nil {
			t.Fatal(err)
		}
		if err := e.Update(t.Context(), func(v *api.VM) { v.Next = next }); err != nil || e.Record().Next == nil || e.Record().VCPUs != 0 {
			t.Errorf("while it runs: %+v, %v", e.Record(), err)
		}
		if fails {
			all.Store = fullStore{}
		}
		e.Ended(t.Context(), api.StateStopped, "")
		if v := e.Record(); v.VCPUs != 4 || v.MemoryBytes != 1<<30 || v.DiskSize() != 2<<30 || v.Network != api.NetworkNone || v.Next != nil {
			t.Errorf("fails %v: then it is %+v", fails, v)
		}
	}
}

// fullStore records nothing, and says so.
type fullStore struct{ Store }

func (fullStore) PutVM(context.Context, api.VM) error { return errors.New("the disk is full") }
