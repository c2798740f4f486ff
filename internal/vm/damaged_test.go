package vm

import (
	"context"
	"strings"
	"testing"

	"banger/api"
)

// unreadable is a store in which one VM's record cannot be read, and not written.
type unreadable struct {
	Store
	id string
}

func (u unreadable) VMs(ctx context.Context) ([]api.VM, error) {
	all, err := u.Store.VMs(ctx)
	for i, v := range all {
		if v.ID == u.id {
			all[i] = api.VM{ID: v.ID, Name: v.Name, CreatedAt: v.CreatedAt, State: api.StateFailed, Reason: "its record in the store cannot be read: x"}
		}
	}
	return all, err
}

func (u unreadable) PutVM(ctx context.Context, v api.VM) error {
	if v.ID == u.id {
		return api.Errorf(api.KindInternal, "the record of VM %s: x", v.ID)
	}
	return u.Store.PutVM(ctx, v)
}

// TestDamagedVM: a VM whose record cannot be read is there, is told what to do about, and
// is lost by nobody's prune; what runs for it is found, and ends with it. Others work.
func TestDamagedVM(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "bad", Start: true}))
	w.must(w.Create(t.Context(), api.CreateVM{Name: "good", Start: true}))
	pid, id := w.show("bad").PID, w.show("bad").ID
	w.leave()
	w.build()
	w.setStore(unreadable{w.store, id})
	if err := w.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v := w.show("bad"); v.State != api.StateFailed || v.PID != pid {
		t.Errorf("it is %s, pid %d, not %d", v.State, v.PID, pid)
	}
	for name, err := range map[string]error{
		"start":   w.do(w.Start(t.Context(), "bad", api.StartVM{})),
		"restart": w.do(w.Restart(t.Context(), "bad", api.StartVM{})),
		"commit":  w.do(w.Commit(t.Context(), "bad", api.CommitVM{Name: "made"})),
	} {
		e := api.AsError(err)
		if e == nil || e.Kind != api.KindConflict || !strings.Contains(e.Message, "cannot be read") || e.Hint != "its disk is in "+w.Paths.VM(id)+"; if nobody needs it: banger vm delete bad" {
			t.Errorf("%s: %+v", name, e)
		}
	}
	if sizes, known := w.DisksInUse("another"); known || sizes != nil {
		t.Error("what it needs is thought to be known")
	}
	if users := w.InUse("another"); len(users) != 1 || users[0] != "bad" {
		t.Errorf("an image is used by %v", users)
	}
	w.must(w.Kill(t.Context(), "bad"))
	w.must(w.Prune(t.Context()))
	w.show("bad")
	w.health("good")
	w.must(w.Create(t.Context(), api.CreateVM{Name: "new", Start: true}))
	w.must(w.Delete(t.Context(), "bad", true))
	if users := w.InUse("another"); len(users) != 0 {
		t.Errorf("an image is used by %v", users)
	}
}
