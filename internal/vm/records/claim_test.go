package records

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"

	"banger/api"
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
