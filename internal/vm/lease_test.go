package vm

import (
	"testing"
	"time"

	"banger/api"
)

// leased makes a running VM with a lease of that time.
func leased(t *testing.T, lease time.Duration) *world {
	w := newWorld(t)
	w.Leases.time = lease
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true, AutoRemove: true, Lease: true}))
	return w
}

// TestLostLease: a VM whose client is gone is removed, before it has held its lease and
// afterwards.
func TestLostLease(t *testing.T) {
	w := leased(t, 300*time.Millisecond)
	w.untilGone("dev")
	w.nothingLeft()

	w = leased(t, 300*time.Millisecond)
	first, err := w.Lease("dev")
	if err != nil {
		t.Fatal(err)
	}
	second, err := w.Lease("dev") // the client comes back before its old connection ends
	if err != nil {
		t.Fatal(err)
	}
	first()
	time.Sleep(time.Second)
	w.health("dev")
	second()
	w.untilGone("dev")
	w.nothingLeft()
}

// TestLeaseOverARestart: a client that comes back to the next daemon keeps its VM, one that
// does not loses it.
func TestLeaseOverARestart(t *testing.T) {
	for _, comes := range []bool{true, false} {
		w := leased(t, time.Minute)
		give, err := w.Lease("dev")
		if err != nil {
			t.Fatal(err)
		}
		w.leave()
		give()
		w.build()
		w.Leases.time = 500 * time.Millisecond
		if err := w.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !comes {
			w.untilGone("dev")
			continue
		}
		give, err = w.Lease("dev")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		w.health("dev")
		give()
	}
}

// TestEndedLease: a VM that its client has left goes on.
func TestEndedLease(t *testing.T) {
	w := leased(t, 500*time.Millisecond)
	if err := w.EndLease(t.Context(), "dev"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	w.health("dev")
	if _, err := w.Create(t.Context(), api.CreateVM{Name: "kept", Lease: true}); api.KindOf(err) != api.KindInvalid {
		t.Errorf("a lease without a removal: %v", err)
	}
}
