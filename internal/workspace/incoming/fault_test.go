package incoming_test

import (
	"context"
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
	"banger/internal/workspace/incoming"
	"banger/internal/workspace/worktest"
)

// asImporter makes a process of this test import, as the file with this name says.
const asImporter = "BANGER_TEST_INCOMING"

type job struct {
	Repo, Guest string
	Shipped     incoming.State
}

func TestMain(m *testing.M) {
	name := os.Getenv(asImporter)
	if name == "" {
		os.Exit(m.Run())
	}
	var j job
	data, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(data, &j)
	}
	repo := &worktest.Repo{Dir: j.Repo}
	if err == nil {
		_, err = incoming.Import(context.Background(), repo, &worktest.Guest{Dir: j.Guest}, incoming.Request{VM: worktest.VM, Shipped: j.Shipped, Record: repo.Record})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// changed is a guest with changes of all kinds.
func changed(t *testing.T) *fixture {
	fx := ship(t, files)
	fx.edit(t, "README", "read me\n")
	fx.edit(t, "sub/.gitignore", "*.x\n")
	fx.edit(t, "sub/file", "new\n")
	fx.edit(t, ".gitattributes", "* text\n")
	fx.remove(t, "src/gone.c")
	return fx
}

var changedDiff = []string{"M\tREADME", "A\tsub/.gitignore", "A\tsub/file", "A\t.gitattributes", "D\tsrc/gone.c"}

// unchanged fails the test if an import that failed left anything but unreferenced objects.
func (fx *fixture) unchanged(t *testing.T) {
	t.Helper()
	if got := fx.repo.Run(t, "for-each-ref", "--format=%(refname)", "refs/banger"); got != "refs/banger/dev/1" {
		t.Errorf("refs: %s", got)
	}
	fx.repo.Run(t, "fsck", "--strict", "--no-dangling")
}

// TestErrorsAtEachStep: each command of git fails in its turn, then the guest does.
func TestErrorsAtEachStep(t *testing.T) {
	fx := changed(t)
	broken := errors.New("broken")
	failed := 0
	for n := 1; ; n++ {
		check := fx.repo.Untouched(t)
		count := 0
		fx.repo.Fail = func([]string) error {
			if count++; count == n {
				return broken
			}
			return nil
		}
		result, err := incoming.Import(context.Background(), fx.repo, fx.guest, fx.request())
		fx.repo.Fail = nil
		check()
		fx.noQuarantine(t)
		if count < n {
			if err != nil {
				t.Fatal(err)
			}
			wantLines(t, "diff", fx.diff(t, result.Commit), changedDiff...)
			break
		}
		if err == nil { // git update-index, whose files are then added another way
			fx.repo.Run(t, "update-ref", "-d", "refs/banger/dev/2")
			continue
		}
		failed++
		if !errors.Is(err, broken) {
			t.Errorf("command %d: %v", n, err)
		}
		fx.unchanged(t)
	}
	if failed < 10 {
		t.Errorf("only %d commands were made to fail", failed)
	}
}

func TestTheGuestFails(t *testing.T) {
	fx := changed(t)
	fx.guest.Failure = errors.New("gone")
	if _, err := incoming.Import(context.Background(), fx.repo, fx.guest, fx.request()); !errors.Is(err, fx.guest.Failure) {
		t.Error(err)
	}
	fx.unchanged(t)
	fx.noQuarantine(t)
}

// TestRecordFails: somebody else took the name, or the disk is full.
func TestRecordFails(t *testing.T) {
	fx := changed(t)
	r := fx.request()
	r.Record = func(context.Context, string) error { return syscall.ENOSPC }
	if _, err := incoming.Import(context.Background(), fx.repo, fx.guest, r); !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	fx.unchanged(t)
	wantLines(t, "diff", fx.diff(t, fx.imports(t).Commit), changedDiff...)
}

// TestKilledAtEachStep: the process is killed between any two steps. What is left is
// unreferenced, and the next import succeeds.
func TestKilledAtEachStep(t *testing.T) {
	fx := changed(t)
	dir := t.TempDir()
	data, err := json.Marshal(job{fx.repo.Dir, fx.guest.Dir, fx.shipped})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "job"), data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	points := filepath.Join(dir, "points")
	run := func(content string) error {
		if err := os.WriteFile(points, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), asImporter+"="+filepath.Join(dir, "job"), faultpoint.Env+"="+points)
		cmd.Stderr = os.Stderr
		return cmd.Run()
	}
	if err := run(faultpoint.Record); err != nil {
		t.Fatal(err)
	}
	recorded, _ := os.ReadFile(points)
	names := strings.Split(strings.TrimSpace(strings.TrimPrefix(string(recorded), faultpoint.Record)), "\n")
	if len(names) != 13 {
		t.Errorf("points: %q", names)
	}
	for _, name := range names {
		fx.repo.Run(t, "update-ref", "-d", "refs/banger/dev/2")
		check := fx.repo.Untouched(t)
		var exit *exec.ExitError
		if err := run(name); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("%s: %v, want a kill", name, err)
		}
		check()
		if name != "incoming recorded" {
			fx.unchanged(t)
		}
		if err := run(""); err != nil {
			t.Fatalf("after %s: %v", name, err)
		}
		wantLines(t, name, fx.diff(t, "refs/banger/dev/2"), changedDiff...)
	}
}

// BenchmarkImport: 50 changes in 10,000 files.
func BenchmarkImport(b *testing.B) {
	all := map[string]string{".gitattributes": "* text=auto\n", ".gitignore": "*.o\n"}
	for n := range 10_000 {
		all[fmt.Sprintf("dir%02d/sub%d/file%d", n%97, n%7, n)] = fmt.Sprintf("content %d\n", n)
	}
	fx := ship(b, all)
	for n := range 40 {
		fx.edit(b, fmt.Sprintf("dir%02d/sub%d/file%d", n%97, n%7, n), "changed\n")
		fx.edit(b, fmt.Sprintf("new/%d", n%10), "new\n")
	}
	listing, err := fx.guest.List()
	if err != nil {
		b.Fatal(err)
	}
	g := &script{entries: listing}
	for b.Loop() {
		result, err := incoming.Import(context.Background(), fx.repo, g, fx.request())
		if err != nil || !result.New || result.Fetched != 50 {
			b.Fatalf("%+v %v", result.Fetched, err)
		}
		fx.repo.Run(b, "update-ref", "-d", "refs/banger/dev/2")
	}
}
