package vm

import (
	"testing"

	"banger/api"
	"banger/internal/op"
	"banger/internal/vm/records"
)

// TestSignal: the record says which signal ended the VM; one that does not end a VMM is refused.
func TestSignal(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Image: "tiny", Start: true}))
	for _, bad := range []api.Signal{"STOP", "", "SIGTERM", "15"} {
		if _, err := w.Signal(t.Context(), "dev", bad); api.KindOf(err) != api.KindInvalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for sig, reason := range map[api.Signal]string{api.SignalAbrt: "killed by SIGABRT", api.SignalTerm: "killed by SIGTERM", api.SignalKill: "killed"} {
		w.must(w.Signal(t.Context(), "dev", sig))
		if v := w.show("dev"); v.State != api.StateStopped || v.Reason != reason {
			t.Errorf("%s: %s, %q", sig, v.State, v.Reason)
		}
		if _, err := w.Signal(t.Context(), "dev", sig); api.KindOf(err) != api.KindConflict {
			t.Errorf("%s of a VM that is stopped: %v", sig, err)
		}
		w.must(w.Start(t.Context(), "dev", api.StartVM{}))
	}
}

// TestSignalIsResumed: the next daemon sends the signal that was asked for.
func TestSignalIsResumed(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Image: "tiny", Start: true}))
	id := w.show("dev").ID
	w.leave()
	w.build()
	left := api.Operation{ID: op.NewID(), Kind: records.KindKill, Target: id, Step: "kill", Status: api.OpRunning, Params: `{"signal":"INT"}`}
	if err := w.store.BeginOperation(t.Context(), left); err != nil {
		t.Fatal(err)
	}
	if err := w.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.settleOps()
	if v := w.show("dev"); v.State != api.StateStopped || v.Reason != "killed by SIGINT" {
		t.Errorf("%s, %q", v.State, v.Reason)
	}
}
