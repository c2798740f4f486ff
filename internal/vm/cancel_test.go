package vm

import (
	"context"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/op"
	"banger/internal/vm/records"
)

// cancelling is a store that cancels the newest operation when it is to forget a VM.
type cancelling struct {
	Store
	w *world
}

func (c cancelling) DeleteVM(ctx context.Context, id string) error {
	if err := c.w.Ops.Cancel(c.w.Ops.List()[0].ID); err != nil {
		c.w.t.Error(err)
	}
	return c.Store.DeleteVM(ctx, id)
}

// TestCancelledDeletion: its disk is gone, so the VM goes too, and whoever cancels it is told
// so.
func TestCancelledDeletion(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	w.setStore(cancelling{w.store, w})
	w.must(w.Delete(t.Context(), "dev", true))
	w.nothingLeft()
}

// TestCancelledPrune: the VM that it is at goes as a whole, the others stay, and it says which.
func TestCancelledPrune(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"a", "b"} {
		w.must(w.Create(t.Context(), api.CreateVM{Name: name}))
	}
	w.setStore(cancelling{w.store, w})
	o, err := w.Prune(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = o.Wait(t.Context())
	all, listErr := w.List(t.Context())
	if listErr != nil || len(all) != 1 {
		t.Fatalf("%+v, %v", all, listErr)
	}
	gone := map[string]string{"a": "b", "b": "a"}[all[0].Name]
	if api.KindOf(err) != api.KindCanceled || !strings.HasSuffix(err.Error(), "cancelled; removed before: "+gone) {
		t.Errorf("%v", err)
	}
	w.must(w.Start(t.Context(), all[0].Name, api.StartVM{}))
}

// TestCreationThatIsGone: the next daemon says that a creation had not succeeded, if it was being
// undone already, and that it was interrupted, if not.
func TestCreationThatIsGone(t *testing.T) {
	w := newWorld(t)
	for undoing, want := range map[bool]string{
		true:  "creating the VM did not succeed, and was being undone when banger was restarted; nothing is left of it",
		false: "creating the VM was interrupted by a restart of banger; nothing is left of it",
	} {
		left := op.Unfinished{Operation: api.Operation{Kind: records.KindCreate, Target: "0123456789ab"}, Undoing: undoing}
		if _, err, stands := w.resumer.outcomeWithoutVM(left); !stands || err == nil || err.Error() != want {
			t.Errorf("undoing %t: %v, %v", undoing, err, stands)
		}
	}
}
