package vm

import (
	"os"
	"testing"
	"time"

	"banger/api"
)

// TestCreationWithoutOperation is a daemon that died between the records of a VM
// and of the operation that was to make it.
func TestCreationWithoutOperation(t *testing.T) {
	w := newWorld(t)
	add := func(id, name string) {
		v := api.VM{ID: id, Name: name, State: api.StateCreating, Driver: "fake", Image: "tiny", CreatedAt: time.Now()}
		if err := w.store.AddVM(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	add("0123456789ab", "nothing")
	add("0123456789ac", "something")
	if err := os.MkdirAll(w.Paths.VM("0123456789ac"), 0o700); err != nil {
		t.Fatal(err)
	}
	w.leave()
	w.enter()
	if _, err := w.Show(t.Context(), "nothing"); api.KindOf(err) != api.KindNotFound {
		t.Errorf("a VM of which nothing was made is kept: %v", err)
	}
	if v := w.show("something"); v.State != api.StateFailed || v.Reason != "its creation was interrupted" {
		t.Errorf("a VM of which something was made is %s (%s)", v.State, v.Reason)
	}
}
