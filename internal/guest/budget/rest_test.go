package budget

import (
	"runtime"
	"testing"
	"time"
)

// TestRest: what a load has left goes back once nothing moves any more, not before; and
// again after another load.
func TestRest(t *testing.T) {
	var r Rest
	defer r.Stop()
	for range 2 {
		r.Use()
		load := make([]byte, 32<<20)
		for i := range load { // takes seconds on a busy machine, with the race detector
			load[i] = 1
			if i%(1<<20) == 0 {
				r.Use()
			}
		}
		runtime.KeepAlive(load)
		load = nil
		high := taken()
		for range 30 { // longer than restAfter
			r.Use()
			time.Sleep(100 * time.Millisecond)
		}
		r.mu.Lock()
		if r.armed.Load() == false {
			t.Error("it rests while something moves")
		}
		r.mu.Unlock()
		for began := time.Now(); taken() > high-24<<20; time.Sleep(50 * time.Millisecond) {
			if time.Since(began) > 20*time.Second {
				t.Fatalf("%d MiB at rest, %d under load", taken()>>20, high>>20)
			}
		}
	}
}
