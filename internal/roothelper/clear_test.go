package roothelper

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"banger/api"
	"banger/internal/rootapi"
)

// TestClearWaitsForWhatIsMade: a VM that is getting its network, or starting, is in
// no list yet, and relies on the table and the boot files all the same.
func TestClearWaitsForWhatIsMade(t *testing.T) {
	w := newFixture(t)
	w.clearing = 20 * time.Millisecond
	clearMeanwhile := func() { w.refuses(api.KindConflict, rootapi.ClearCall{}) }
	w.nets.attaching = clearMeanwhile
	w.must(rootapi.NetAttachCall{VM: of(vm), Slot: 1}, nil)
	if !w.wall.loaded.Load() {
		t.Error("it has a network without the host's table")
	}
	w.units.starting = clearMeanwhile
	w.start(vm, 1)
	if w.read(filepath.Join(w.Dirs.Boot, w.sum)) != "a kernel" {
		t.Error("its boot file is not what it was")
	}
	w.kill(vm)
	w.must(rootapi.VMReleaseCall{VM: of(vm)}, nil)
	w.must(rootapi.ClearCall{}, nil)
}

// TestClearWaitsAMoment: by default it is not refused for a start that is about to end.
func TestClearWaitsAMoment(t *testing.T) {
	w := newFixture(t)
	done, err := w.shared.use(t.Context())
	w.check(err)
	time.AfterFunc(50*time.Millisecond, done)
	w.must(rootapi.ClearCall{}, nil)
}

// TestClearOfBootFiles: there may be none; if they cannot be listed they are not removed.
func TestClearOfBootFiles(t *testing.T) {
	w := newFixture(t)
	w.must(rootapi.ClearCall{}, nil)
	if there(filepath.Join(w.Dirs.Boot, w.sum)) {
		t.Error("a boot file is left")
	}
	w.check(os.Remove(w.Dirs.Boot))
	w.must(rootapi.ClearCall{}, nil)
	w.check(os.WriteFile(w.Dirs.Boot, nil, 0o600))
	w.refuses(api.KindInternal, rootapi.ClearCall{})
}

// TestNetworkWaitsForClear: a network that is asked for while the table is being
// removed comes with a new one.
func TestNetworkWaitsForClear(t *testing.T) {
	w := newFixture(t)
	attached := make(chan error, 1)
	w.wall.removing = func() {
		go func() {
			_, err := w.ask(rootapi.NetAttachCall{VM: of(vm), Slot: 1}, nil)
			attached <- err
		}()
		select {
		case <-attached:
			t.Error("it got its network under the removal of the table")
			attached <- nil
		case <-time.After(50 * time.Millisecond):
		}
	}
	w.must(rootapi.ClearCall{}, nil)
	w.check(<-attached)
	if !w.wall.loaded.Load() || w.nets.attached != 1 {
		t.Errorf("table loaded: %t, networks: %d", w.wall.loaded.Load(), w.nets.attached)
	}
}
