package vm

import (
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"banger/api"
	"banger/internal/paths"
)

// TestHaltedGuestIsEnded: a VMM that runs no guest any more does not run on; what a
// living guest writes to its console ends nothing.
func TestHaltedGuestIsEnded(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	var look func()
	w.instances.Watch = func(_ string, looked func()) func() {
		mu.Lock()
		defer mu.Unlock()
		if looked != nil {
			look = looked
		}
		return func() {}
	}
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	v, err := w.Show(t.Context(), "dev")
	if err != nil {
		t.Fatal(err)
	}
	says := func(text string) { w.says(v.ID, text) }
	still := func(state api.State) {
		t.Helper()
		if now, err := w.Show(t.Context(), "dev"); err != nil || now.State != state {
			t.Fatalf("%s (%s), not %s, %v", now.State, now.Reason, state, err)
		}
	}
	says("[    6.036481] reboot: System halted\r\n")
	look() // its agent answers
	time.Sleep(100 * time.Millisecond)
	still(api.StateRunning)
	// A stopped process answers nobody, as a halted guest.
	if err := syscall.Kill(v.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	says("[    7.000000] something else\r\n")
	look()
	time.Sleep(100 * time.Millisecond)
	still(api.StateRunning)
	says("[    8.000000] reboot: System halted\r\n")
	look()
	ended, err := w.Wait(t.Context(), "dev")
	if err != nil || ended.State != api.StateStopped || ended.Reason != "the guest powered off" {
		t.Errorf("%s (%s), %v", ended.State, ended.Reason, err)
	}
}

// TestHaltedGuestThatHasEndedIsLetBe: what a run's console said ends no later run.
func TestHaltedGuestThatHasEndedIsLetBe(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	var looks []func() // of each run
	w.instances.Watch = func(_ string, looked func()) func() {
		mu.Lock()
		defer mu.Unlock()
		if looked != nil {
			looks = append(looks, looked)
		}
		return func() {}
	}
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	v := w.show("dev")
	w.must(w.Restart(t.Context(), "dev", api.StartVM{}))
	w.says(v.ID, "[    6.036481] reboot: System halted\r\n")
	mu.Lock()
	first := looks[0]
	mu.Unlock()
	first()
	time.Sleep(100 * time.Millisecond)
	if now := w.show("dev"); now.State != api.StateRunning {
		t.Errorf("the VM is %s (%s)", now.State, now.Reason)
	}
}

// says writes to a VM's console, as its guest would.
func (w *world) says(id, text string) {
	w.t.Helper()
	f, err := os.OpenFile(filepath.Join(w.Paths.VM(id), paths.VMConsole), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		w.t.Fatal(err)
	}
}
