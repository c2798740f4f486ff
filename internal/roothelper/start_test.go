package roothelper

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"banger/api"
	"banger/internal/rootapi"
)

// TestUnitsWhoseProcessIsNotKept: what systemd says of the unit's process decides whether the
// VMM has started, also if it says something else a moment later.
func TestUnitsWhoseProcessIsNotKept(t *testing.T) {
	for name, c := range map[string]struct {
		first, second func(pid int) (int, error)
		want          string
	}{
		"none":            {first: func(int) (int, error) { return 0, nil }, want: "ended at once"},
		"none any more":   {second: func(int) (int, error) { return 0, nil }, want: "ended at once"},
		"another one now": {second: func(int) (int, error) { return os.Getpid(), nil }, want: "ended at once"},
		"not known":       {first: func(int) (int, error) { return 0, errors.New("no answer") }, want: "no answer"},
		"not known now":   {second: func(pid int) (int, error) { return pid, errors.New("no answer") }, want: "no answer"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			asked := 0
			w.units.mainPID = func(pid int) (int, error) {
				if pid != 0 {
					asked++
				}
				switch {
				case asked == 1 && c.first != nil:
					return c.first(pid)
				case asked == 2 && c.second != nil:
					return c.second(pid)
				case asked > 2: // it has ended meanwhile
					return 0, nil
				}
				return pid, nil
			}
			w.blocks.attached[vm] = true
			if err := w.refuses(api.KindInternal, w.startCall(vm, 1), w.logs...); !strings.Contains(err.Error(), c.want) {
				t.Error(err)
			}
			w.kill(vm)
		})
	}
}

// TestStartThatFailsLeavesNoDescriptor: the helper runs for months.
func TestStartThatFailsLeavesNoDescriptor(t *testing.T) {
	for name, c := range map[string]struct {
		change func(w *fixture)
		kind   api.Kind
		test   int // what the test itself opens for each start
	}{
		"no unit": {change: func(w *fixture) { w.units.fails = errors.New("systemd says no") }, kind: api.KindInternal},
		// An os.Process has a pidfd until it is collected.
		"serves nothing": {change: func(w *fixture) { w.units.serve, w.ready = nil, 20*time.Millisecond }, kind: api.KindTimeout, test: 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			w.blocks.attached[vm] = true
			c.change(w)
			start := func() {
				w.refuses(c.kind, w.startCall(vm, 1), w.logs...)
				w.kill(vm)
			}
			start() // what is opened once stays
			before := descriptors(t)
			const starts = 5
			for range starts {
				start()
			}
			if after := descriptors(t); after >= before+starts*(c.test+1) {
				t.Errorf("%d descriptors became %d", before, after)
			}
		})
	}
}

// TestHowAVMMEnded: systemd may notice the end a moment later; it is asked until then, and no
// longer.
func TestHowAVMMEnded(t *testing.T) {
	w := newFixture(t)
	began := time.Now()
	for name, late := range map[string]int{"noticed": 0, "not noticed yet": 3} {
		w.units.late = late
		if err := w.ended(t.Context(), w.startCall(vm, 1)); !strings.HasSuffix(err.Error(), "firecracker ended at once: exit-code") {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.units.stateFails = errors.New("no answer")
	w.units.late = 1
	if err := w.ended(t.Context(), w.startCall(vm, 1)); !strings.HasSuffix(err.Error(), "firecracker ended at once") || w.units.late != 0 {
		t.Error(err)
	}
	if took := time.Since(began); took > endedTime {
		t.Errorf("it took %s", took)
	}
}

// TestUsualPatience: without a test's own limits a start and a search wait.
func TestUsualPatience(t *testing.T) {
	w := newFixture(t)
	w.ready, w.starting = 0, 0
	w.units.args = []string{"pause"} // before it serves
	w.start(vm, 1)
	w.kill(vm)
	w.must(rootapi.VMReleaseCall{VM: of(vm)}, nil)
	asked := 0
	w.units.mainPID = func(int) (int, error) {
		if asked++; asked < 3 {
			return 1, nil // a jailer
		}
		return 0, nil
	}
	var found rootapi.VMFindAnswer
	w.must(rootapi.VMFindCall{VM: of(vm)}, &found)
	if found.Process != nil || asked != 3 {
		t.Errorf("%+v, asked %d times", found.Process, asked)
	}
}

func TestStopwatch(t *testing.T) {
	w := stopwatch{last: time.Now().Add(-90 * time.Second)}
	w.lap("one")
	w.lap("two")
	if one, two := w.laps[0].Milliseconds, w.laps[1].Milliseconds; one < 90e3 || one > 150e3 || two < 0 || two > 60e3 {
		t.Errorf("%+v", w.laps)
	}
}

func TestSocketNames(t *testing.T) {
	for want, c := range map[string][2]string{
		"agent.sock": {qemuProgram, rootapi.SocketAgent}, "api.sock": {qemuProgram, rootapi.SocketAPI},
		"v.sock": {"firecracker", rootapi.SocketAgent}, "/api.sock": {"firecracker-v1.16.1", rootapi.SocketAPI},
	} {
		if got := socketName(jail{program: c[0]}, c[1]); got != strings.TrimPrefix(want, "/") {
			t.Errorf("%s of %s: %s", c[1], c[0], got)
		}
	}
}

// watching is a watch for the file "name" in a new directory.
func (w *fixture) watching() (watch *fileWatch, dir string) {
	w.TB.Helper()
	dir = w.dir()
	watch, err := watchFor(dir, "name")
	w.check(err)
	w.Cleanup(watch.close)
	return watch, dir
}

// TestWatch: a file that is renamed to the name counts, another one does not, and does not
// hide that the process has ended.
func TestWatch(t *testing.T) {
	w := newFixture(t)
	ended, write, err := os.Pipe() // readable once the process has ended, as a pidfd
	w.check(err)
	defer ended.Close()
	watch, dir := w.watching()
	other := filepath.Join(dir, "other")
	w.check(os.WriteFile(other, nil, 0o600))
	got := make(chan error, 1)
	go func() { got <- watch.wait(ended, 20*time.Second) }()
	select {
	case err := <-got:
		t.Fatalf("another file was taken for it: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	w.check(os.Rename(other, watch.path))
	began := time.Now()
	if err := <-got; err != nil || time.Since(began) > 10*time.Second {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
	watch, dir = w.watching()
	w.check(os.WriteFile(filepath.Join(dir, "other"), nil, 0o600))
	w.check(write.Close())
	if err := watch.wait(ended, 5*time.Second); !errors.Is(err, errEnded) {
		t.Error(err)
	}
	alone, _ := w.watching()
	if err := alone.wait(ended, 5*time.Second); !errors.Is(err, errEnded) {
		t.Errorf("without another file: %v", err)
	}
	if _, err := watchFor(w.logs[0].Name(), "name"); err == nil {
		t.Error("a file is watched")
	}
}

// TestWatchOfAnInstant: what is left of the time may be less than a millisecond, the unit of
// poll(2).
func TestWatchOfAnInstant(t *testing.T) {
	w := newFixture(t)
	running, write, err := os.Pipe()
	w.check(err)
	defer running.Close()
	watch, _ := w.watching()
	got := make(chan error, 1)
	for range 50 {
		go func() { got <- watch.wait(running, 900*time.Microsecond) }()
		select {
		case err := <-got:
			if api.KindOf(err) != api.KindTimeout {
				t.Fatal(err)
			}
		case <-time.After(10 * time.Second):
			t.Error("it does not end")
			w.check(write.Close())
			<-got
			return
		}
	}
	w.check(write.Close())
}
