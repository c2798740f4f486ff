package workspace_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"banger/internal/faultpoint"
	"banger/internal/workspace"
	"banger/internal/workspace/worktest"
)

// asWorker makes a process of this test work on a workspace, as the job in the file with this name
// tells it. killStep is the number of the command of git, or call of the guest, before which it is
// killed.
const (
	asWorker  = "BANGER_TEST_WORKER"
	killStep  = "BANGER_TEST_KILL"
	stepCount = "BANGER_TEST_STEPS"
)

// killingGit is git, with the steps counted.
const killingGit = `#!/bin/sh
n=$(($(cat "$BANGER_TEST_STEPS") + 1))
echo $n > "$BANGER_TEST_STEPS"
[ $n != "$BANGER_TEST_KILL" ] || { kill -9 $PPID; exit 1; }
exec %s "$@"
`

type workerJob struct{ Top, States, Guest, Do string }

// work does the job of a worker, if this process is one.
func work() {
	name := os.Getenv(asWorker)
	if name == "" {
		return
	}
	var j workerJob
	data, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(data, &j)
	}
	if err == nil {
		err = j.run(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func (j workerJob) run(ctx context.Context) error {
	guest := &dirGuest{root: j.Guest, onFile: func(int) error { return countStep() }}
	w, err := workspace.Open(ctx, j.Top, j.States)
	if err != nil {
		return err
	}
	if j.Do == "ship" {
		_, err = w.Ship(ctx, guest, workspace.Cargo{VM: vm, Directory: directory, Placed: func(context.Context) error { return countStep() }})
		return err
	}
	s, _, err := w.Shipment(vm.ID)
	if err != nil {
		return err
	}
	if _, err := w.Collect(ctx, guest, s); err != nil {
		return err
	}
	if _, err := w.Apply(ctx, s, w.Newest(s), false); err != nil {
		return err
	}
	_, err = w.Undo(ctx, vm.ID)
	return err
}

// countStep counts a call of the guest as a step.
func countStep() error {
	data, err := os.ReadFile(os.Getenv(stepCount))
	var n int
	if err == nil {
		_, err = fmt.Sscan(string(data), &n)
	}
	if n++; fmt.Sprint(n) == os.Getenv(killStep) {
		return errors.Join(syscall.Kill(os.Getpid(), syscall.SIGKILL), errors.New("killed"))
	}
	return errors.Join(err, os.WriteFile(os.Getenv(stepCount), []byte(fmt.Sprint(n)), 0o600))
}

// killed works in a process of its own, which is killed at a step. It returns false if there are
// fewer steps.
func (s *synced) killed(do string, step int) bool {
	s.t.Helper()
	killed, _ := s.worker(do, step, "")
	return killed
}

// worker works in a process of its own, which is killed at a step or a fault point. It returns what
// the file of fault points has then.
func (s *synced) worker(do string, step int, points string) (killed bool, left string) {
	s.t.Helper()
	dir := s.t.TempDir()
	git, err := exec.LookPath("git")
	if err != nil {
		s.t.Fatal(err)
	}
	data, err := json.Marshal(workerJob{s.top, s.states, s.guest.root, do})
	for name, content := range map[string]string{"job": string(data), "git": fmt.Sprintf(killingGit, git), "count": "0", "points": points} {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o755))
	}
	if err != nil {
		s.t.Fatal(err)
	}
	var text strings.Builder
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asWorker+"="+filepath.Join(dir, "job"), stepCount+"="+filepath.Join(dir, "count"),
		killStep+"="+fmt.Sprint(step), "PATH="+dir+":"+os.Getenv("PATH"), faultpoint.Env+"="+filepath.Join(dir, "points"))
	cmd.Stderr = &text
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return true, ""
	}
	if err != nil {
		s.t.Fatalf("step %d %s of %s: %v: %s", step, points, do, err, &text)
	}
	data, err = os.ReadFile(filepath.Join(dir, "points"))
	if err != nil {
		s.t.Fatal(err)
	}
	return false, string(data)
}

// steps returns the first step at which a test kills, and how many are between two: each is tried
// in some run.
func steps(t *testing.T) (first, step int) {
	step = 5
	if testing.Short() {
		step = 15
	}
	first = 1 + rand.IntN(step)
	t.Logf("steps %d, %d …", first, first+step)
	return first, step
}

// TestKilledShip: the command is killed between any two steps of sending the files. The next one
// sends them all, and what the killed one had sent does not count as the guest's work.
func TestKilledShip(t *testing.T) {
	f := newFixture(t)
	f.write("untracked", "u\n")
	untouched := (&worktest.Repo{Dir: f.top}).Untouched(t)
	first, step := steps(t)
	for n := first; ; n += step {
		f.guest = &dirGuest{root: t.TempDir()}
		f.states = t.TempDir()
		f.w = f.open(f.states)
		s := syncedOf(f)
		if !s.killed("ship", n) {
			if n < 20 {
				t.Errorf("only %d steps", n)
			}
			return
		}
		untouched()
		if err := f.ship(); err != nil {
			t.Fatalf("after step %d: %v", n, err)
		}
		untouched()
		s.same()
		if got := s.collect(); got != "" {
			t.Errorf("after step %d: %s", n, got)
		}
	}
}

// TestKilledReturn: the command is killed between any two steps of looking at the guest's files,
// applying them upon an earlier apply, and taking that back.
func TestKilledReturn(t *testing.T) {
	s := newSynced(t, nil)
	s.onGuest("one", "first\n")
	s.apply()
	s.onGuest("one", "second\n")
	s.onGuest("dir/new", "#!new\n")
	s.onGuest("two", "")
	_, recorded := s.worker("return", 0, faultpoint.Record)
	s.returned("at first")
	first, step := steps(t)
	before := worktest.Files(t, s.top, ".git")
	for n := first; s.killed("return", n); n += step {
		s.undoHalf(before)
		s.returned(fmt.Sprint("after step ", n))
	}
	points := strings.Fields(strings.ReplaceAll(strings.TrimPrefix(recorded, faultpoint.Record), " ", "_"))
	if len(points) < 20 {
		t.Errorf("%d points: %q", len(points), points)
	}
	for n := first - 1; n < len(points); n += step {
		point := strings.ReplaceAll(points[n], "_", " ")
		// The guest has something new, as it had when the points were recorded: some are for that alone.
		s.onGuest("one", "other\n")
		s.collect()
		s.onGuest("one", "second\n")
		if killed, _ := s.worker("return", 0, point); !killed {
			t.Fatalf("it was not killed at %s", point)
		}
		s.undoHalf(before)
		s.returned("after " + point)
	}
}

// undoHalf takes back what a killed apply has written, or a killed undo has left.
func (s *synced) undoHalf(before map[string]string) {
	s.t.Helper()
	shipment, _, err := s.w.Shipment(vm.ID)
	if err != nil {
		s.t.Fatal(err)
	}
	if maps.Equal(worktest.Files(s.t, s.top, ".git"), before) && s.blob(shipment.Base()+":one") == before["one"] {
		return
	}
	if _, err := s.w.Undo(s.t.Context(), vm.ID); err != nil {
		s.t.Fatal(err)
	}
	if got := worktest.Files(s.t, s.top, ".git"); !maps.Equal(got, before) {
		s.t.Fatalf("half an apply was taken back, and there is %q", got)
	}
}

// returned applies what TestKilledReturn has changed, and takes it back.
func (s *synced) returned(when string) {
	s.t.Helper()
	s.apply()
	got := worktest.Files(s.t, s.top, ".git")
	if got["one"] != "second\n" || got["two"] != "" || got["dir/new"] != "#!new\n" {
		s.t.Fatalf("%s: applied, there is %q", when, got)
	}
	if _, err := s.w.Undo(s.t.Context(), vm.ID); err != nil {
		s.t.Fatalf("%s: %v", when, err)
	}
	got = worktest.Files(s.t, s.top, ".git")
	if got["one"] != "first\n" || got["two"] != "2\n" || got["dir/new"] != "" {
		s.t.Fatalf("%s: taken back, there is %q", when, got)
	}
	s.want(when, s.collect(), "A dir/new", "M one", "D two\n")
}

// apply brings what the guest has here.
func (s *synced) apply() {
	s.t.Helper()
	s.collect()
	shipment, _, err := s.w.Shipment(vm.ID)
	if err == nil {
		_, err = s.w.Apply(s.t.Context(), shipment, s.w.Newest(shipment), false)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}
