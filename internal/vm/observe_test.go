package vm

import (
	"syscall"
	"testing"
	"time"

	"banger/api"
	"banger/internal/driver"
)

// TestStats: one guest hangs, one VM is stopped, one boots, one does not exist; each row says so, and
// none waits for another longer than the bound.
func TestStats(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"hangs", "well", "off"} {
		w.must(w.Create(t.Context(), api.CreateVM{Name: name, Image: "tiny", Start: true}))
	}
	w.must(w.Kill(t.Context(), "off"))
	pid := w.show("hangs").PID
	if err := w.table.ByID(w.show("hangs").ID).Run().Machine().(driver.Pauser).Pause(t.Context()); err != nil { // when it returns, it hangs
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
	for range 3 { // the later looks do not ask the guest that hangs again
		began := time.Now()
		list, err := w.Stats(t.Context(), []string{"hangs", "well", "off", "nobody"})
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %s", took)
		}
		if err != nil || len(list.Stats) != 4 {
			t.Fatal(list, err)
		}
		hangs, well, off, nobody := list.Stats[0], list.Stats[1], list.Stats[2], list.Stats[3]
		if hangs.Host == nil || hangs.Host.PID != pid || hangs.Guest != nil || hangs.Error == nil || hangs.Error.Kind != api.KindTimeout {
			t.Errorf("the guest that hangs: %+v %+v", hangs, hangs.Error)
		}
		if well.Error != nil || well.Guest == nil || well.Guest.Network.RxPackets != 12 || well.Host.CPUNS == nil || well.Host.Memory.Bytes < 1<<20 {
			t.Errorf("the guest that is well: %+v %+v %+v", well, well.Guest, well.Host)
		}
		if off.State != api.StateStopped || off.Host != nil || off.Guest != nil || off.Error != nil || off.StartedAt != nil {
			t.Errorf("the VM that is stopped: %+v", off)
		}
		if nobody.ID != "" || nobody.Name != "nobody" || api.KindOf(nobody.Error) != api.KindNotFound {
			t.Errorf("the VM that does not exist: %+v", nobody)
		}
	}
	running, err := w.Stats(t.Context(), nil)
	if err != nil || len(running.Stats) != 2 || running.Stats[0].Name != "hangs" || running.Stats[1].Name != "well" {
		t.Errorf("all that run: %+v, %v", running, err)
	}
	if _, err := w.Stats(t.Context(), make([]string, 1025)); api.KindOf(err) != api.KindInvalid {
		t.Error(err)
	}
	health, err := w.Health(t.Context(), "hangs")
	if err != nil || health.Well || health.Parts[0].Fix == "" || health.Parts[2].Status != api.PartWrong || health.Parts[2].Fix == "" {
		t.Errorf("%+v, %v", health, err)
	}
}

// TestStatsOfAGuestThatBoots: it is not asked before it has answered once.
func TestStatsOfAGuestThatBoots(t *testing.T) {
	w := newWorld(t)
	w.fault("slow=1500ms")
	o, err := w.Create(t.Context(), api.CreateVM{Name: "boots", Image: "tiny", Start: true})
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		list, err := w.Stats(t.Context(), nil)
		if err != nil || time.Now().After(deadline) {
			t.Fatal(list, err)
		}
		if len(list.Stats) == 1 {
			if s := list.Stats[0]; s.Error == nil || s.Error.Message != "the guest boots: it has not answered yet" || s.Doing == "" {
				t.Errorf("%+v %+v", s, s.Error)
			}
			break
		}
	}
	if h, err := w.Health(t.Context(), "boots"); err != nil || h.Well || h.Parts[1].Status != api.PartWrong {
		t.Errorf("%+v, %v", h, err)
	}
	w.must(o, nil)
}
