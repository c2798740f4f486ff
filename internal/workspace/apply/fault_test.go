package apply_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"banger/internal/faultpoint"
	"banger/internal/workspace/apply"
	"banger/internal/workspace/worktest"
)

// asApplier makes a process of this test apply or undo, as the file with this name says.
const asApplier = "BANGER_TEST_APPLY"

type job struct {
	Repo, Shipped, Guest, Dir string
	Undo, Partial             bool
}

func TestMain(m *testing.M) {
	name := os.Getenv(asApplier)
	if name == "" {
		os.Exit(m.Run())
	}
	var j job
	data, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(data, &j)
	}
	repo := &worktest.Repo{Dir: j.Repo}
	switch {
	case err != nil:
	case j.Undo:
		_, err = apply.Undo(ctx, repo, j.Dir, repo.Snapshot)
	default:
		_, err = apply.Apply(ctx, repo, apply.Request{Shipped: j.Shipped, Guest: j.Guest, Snapshot: repo.Snapshot, Dir: j.Dir, Partial: j.Partial})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// process runs a job in a process of its own, with a content of the file of fault points.
func process(t *testing.T, j job, points string) error {
	t.Helper()
	dir := t.TempDir()
	data, err := json.Marshal(j)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "job"), data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asApplier+"="+filepath.Join(dir, "job"), faultpoint.Env+"="+points)
	cmd.Stderr = &text
	if err = cmd.Run(); err != nil && text.Len() > 0 {
		err = fmt.Errorf("%w: %s", err, &text)
	}
	return err
}

// points returns those that a job reaches.
func points(t *testing.T, j job) []string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "points")
	if err := os.WriteFile(name, []byte(faultpoint.Record), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := process(t, j, name); err != nil {
		t.Fatal(err)
	}
	recorded, _ := os.ReadFile(name)
	return strings.Split(strings.TrimSpace(strings.TrimPrefix(string(recorded), faultpoint.Record)), "\n")
}

// kill runs a job that is killed at a point.
func kill(t *testing.T, j job, point string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "points")
	if err := os.WriteFile(name, []byte(point), 0o600); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := process(t, j, name); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("%s: %v, want a kill", point, err)
	}
}

// recorded returns all contents that refs/banger has.
func (fx *fixture) recorded(t testing.TB) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, id := range strings.Fields(fx.repo.Run(t, "for-each-ref", "--format=%(objectname)", "refs/banger")) {
		for _, line := range strings.Split(fx.repo.Run(t, "ls-tree", "-r", id), "\n") {
			if fields := strings.Fields(line); len(fields) > 3 {
				all[fields[2]] = true
			}
		}
	}
	contents := map[string]bool{}
	for id := range all {
		contents[fx.repo.Run(t, "cat-file", "blob", id)] = true
	}
	return contents
}

// nothingLost fails the test if a content of the files is neither in the work tree nor below
// refs/banger.
func (fx *fixture) nothingLost(t testing.TB, what string, files map[string]string) {
	t.Helper()
	now, recorded := fx.files(t), fx.recorded(t)
	present := map[string]bool{}
	for _, content := range now {
		present[content] = true
	}
	for name, content := range files {
		if !present[content] && !recorded[strings.TrimSuffix(strings.TrimPrefix(content, "-> "), "\n")] {
			t.Errorf("%s: %q with %q is lost", what, name, content)
		}
		if strings.HasSuffix(name, ".o") && now[name] != content {
			t.Errorf("%s: the ignored %q is %q now", what, name, now[name])
		}
	}
}

// TestKilledAtEachStep: the process that applies, and the one that undoes, is killed between
// any two steps. Nothing is lost, and it can be undone or finished.
func TestKilledAtEachStep(t *testing.T) {
	fx := ship(t, base)
	fx.edits(t)
	r := fx.request(t)
	before, guest, check := fx.files(t), worktest.Files(t, fx.guest.Dir), fx.repo.Untouched(t)
	do := job{Repo: fx.repo.Dir, Shipped: r.Shipped, Guest: r.Guest, Dir: fx.dir}
	undo := do
	undo.Undo = true
	applying := points(t, do)
	wantFiles(t, "applied", fx.files(t), edited)
	undoing := points(t, undo)
	wantFiles(t, "undone", fx.files(t), before)
	if len(applying) < 25 || len(undoing) < 25 {
		t.Errorf("%d and %d points: %q %q", len(applying), len(undoing), applying, undoing)
	}
	applying, undoing = sample(applying), sample(undoing)
	for n, point := range applying {
		kill(t, do, point)
		fx.nothingLost(t, point, before)
		fx.nothingLost(t, point, guest)
		if n%2 == 0 {
			if err := process(t, do, ""); err != nil {
				t.Fatalf("after %s: %v", point, err)
			}
			wantFiles(t, "applied after "+point, fx.files(t), edited)
			fx.reset(t, before)
			continue
		}
		// Without a journal it had not begun.
		if err := process(t, undo, ""); err != nil && !strings.Contains(err.Error(), "nothing to undo") {
			t.Fatalf("after %s: %v", point, err)
		}
		wantFiles(t, "undone after "+point, fx.files(t), before)
	}
	for _, point := range undoing {
		if err := process(t, do, ""); err != nil {
			t.Fatal(err)
		}
		kill(t, undo, point)
		fx.nothingLost(t, point, before)
		fx.nothingLost(t, point, guest)
		if err := process(t, undo, ""); err != nil && !strings.Contains(err.Error(), "nothing to undo") {
			t.Fatalf("after %s: %v", point, err)
		}
		wantFiles(t, "undone after "+point, fx.files(t), before)
	}
	check()
}

// sample leaves every fifth point if tests are to be short, as with the race detector.
func sample(points []string) []string {
	if !testing.Short() {
		return points
	}
	var some []string
	for n := 0; n < len(points); n += 5 {
		some = append(some, points[n])
	}
	return some
}

// reset makes the work tree what files say.
func (fx *fixture) reset(t testing.TB, files map[string]string) {
	t.Helper()
	entries, err := os.ReadDir(fx.repo.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != ".git" {
			remove(t, fx.repo.Dir, e.Name())
		}
	}
	for name, content := range files {
		fx.repo.Write(t, name, content)
	}
}

// TestErrorsAtEachStep: each command of git fails in its turn. The work tree stays as it was.
func TestErrorsAtEachStep(t *testing.T) {
	fx := ship(t, base)
	fx.edits(t)
	r := fx.request(t)
	before, check := fx.files(t), fx.repo.Untouched(t)
	broken := errors.New("broken")
	for n := 1; ; n++ {
		count := 0
		fx.repo.Fail = func([]string) error {
			if count++; count == n {
				return broken
			}
			return nil
		}
		_, err := apply.Apply(ctx, fx.repo, r)
		fx.repo.Fail = nil
		check()
		if count < n {
			if err != nil || n < 8 {
				t.Errorf("%d commands: %v", n, err)
			}
			wantFiles(t, "applied", fx.files(t), edited)
			return
		}
		if err == nil {
			t.Errorf("command %d failed, Apply did not", n)
		}
		wantFiles(t, fmt.Sprint("after command ", n), fx.files(t), before)
	}
}
