package vm

import (
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"banger/api"
)

// TestLogsAreWatchedWhileTheVMRuns: what the guest and the VMM write is bounded.
func TestLogsAreWatchedWhileTheVMRuns(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	var watched []string
	seen := func() []string { mu.Lock(); defer mu.Unlock(); return slices.Clone(watched) }
	w.instances.Watch = func(path string, _ func()) func() {
		mu.Lock()
		defer mu.Unlock()
		name := filepath.Base(path)
		watched = append(watched, name)
		return func() {
			mu.Lock()
			defer mu.Unlock()
			watched = slices.DeleteFunc(watched, func(s string) bool { return s == name })
		}
	}
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	if got := seen(); !slices.Equal(got, []string{"console.log", "vmm.log"}) {
		t.Errorf("watched while it runs: %v", got)
	}
	w.must(w.Stop(t.Context(), "dev", api.StopVM{}))
	w.Ops.Close()
	w.Close() // waits for what runs beside the VM
	if got := seen(); len(got) != 0 {
		t.Errorf("watched when it has stopped: %v", got)
	}
	w.store.Close()
	w.enter()
}
