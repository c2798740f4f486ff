package workspace_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"banger/api"
	"banger/internal/workspace"
	"banger/internal/workspace/review"
)

const directory = "/workspaces/project"

var vm = api.VM{ID: "0123456789ab", Name: "project"}

// fixture is a repository with two files, and a guest.
type fixture struct {
	t     *testing.T
	top   string
	w     *workspace.Workspace
	guest *dirGuest
	// states is the directory of the states of workspaces.
	states string
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, top: filepath.Join(t.TempDir(), "project"), guest: &dirGuest{root: t.TempDir()}}
	if err := os.Mkdir(f.top, 0o755); err != nil {
		t.Fatal(err)
	}
	f.write("one", "1\n")
	f.write("two", "2\n")
	f.git("init", "-q")
	f.git("add", ".")
	f.git("-c", "user.name=U", "-c", "user.email=u@example.com", "commit", "-qm", "first")
	f.states = t.TempDir()
	f.w = f.open(f.states)
	return f
}

func (f *fixture) open(states string) *workspace.Workspace {
	f.t.Helper()
	w, err := workspace.Open(f.t.Context(), f.top, states)
	if err != nil {
		f.t.Fatal(err)
	}
	return w
}

func (f *fixture) write(name, content string) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.top, name), []byte(content), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) git(args ...string) string {
	f.t.Helper()
	out, err := command(f.top, args...).CombinedOutput()
	if err != nil {
		f.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// command is a git command of the user's.
func command(dir string, args ...string) *exec.Cmd {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	return cmd
}

func (f *fixture) ship() error {
	_, err := f.w.Ship(f.t.Context(), f.guest, workspace.Cargo{VM: vm, Directory: directory})
	return err
}

// collect returns what the guest has changed, a line each.
func (f *fixture) collect() string {
	f.t.Helper()
	return f.collectFrom(f.guest)
}

func (f *fixture) collectFrom(g workspace.Guest) (changes string) {
	f.t.Helper()
	s, known, err := f.w.Shipment(vm.ID)
	if err != nil || !known || !s.Done {
		f.t.Fatalf("shipment %+v, %v, %v", s, known, err)
	}
	result, err := f.w.Collect(f.t.Context(), g, s)
	if err != nil {
		f.t.Fatal(err)
	}
	all, err := review.Changes(f.t.Context(), f.w.Repo, s.Base(), result.Commit)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, c := range all {
		changes += review.Status(c) + " " + c.Path + "\n"
	}
	return changes
}

func TestWhatTheGuestChanged(t *testing.T) {
	f := newFixture(t)
	if err := f.ship(); err != nil {
		t.Fatal(err)
	}
	if got := f.collect(); got != "" {
		t.Errorf("right after: %q", got)
	}
	f.guest.write(t, "one", "guest\n")
	f.guest.write(t, "three", "3\n")
	f.guest.write(t, ".git/config", "[core]\n\tfsmonitor = touch /tmp/owned\n")
	if got, want := f.collect(), "M one\nA three\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := f.git("status", "--porcelain"); got != "" {
		t.Errorf("the host's files changed: %q", got)
	}
}

// TestAFileThatChangesWhileItIsSent: what the guest got is not what the snapshot has, and still
// nothing that it has is taken for unchanged.
func TestAFileThatChangesWhileItIsSent(t *testing.T) {
	f := newFixture(t)
	first := true
	_, err := f.w.Ship(t.Context(), f.guest, workspace.Cargo{VM: vm, Directory: directory, Report: func(api.Progress) {
		if first { // "one" is packed
			f.write("two", "changed on the host\n")
		}
		first = false
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := f.collect(), "M two\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestAnInterruptedShipIsRepeated: whatever it had sent does not count as the guest's work.
func TestAnInterruptedShipIsRepeated(t *testing.T) {
	f := newFixture(t)
	broken := errors.New("broken")
	f.guest.onFile = func(n int) error {
		if n == 2 {
			return broken
		}
		return nil
	}
	if err := f.ship(); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if s, known, err := f.w.Shipment(vm.ID); err != nil || !known || s.Done {
		t.Fatalf("%+v, %v, %v", s, known, err)
	}
	f.guest.onFile = nil
	if err := f.ship(); err != nil {
		t.Fatal(err)
	}
	if got := f.collect(); got != "" {
		t.Errorf("%q", got)
	}
}

// TestFilesOfTheGuestAreNotOverwritten: neither those of a guest that was sent the files before,
// nor those of one of which nothing is remembered any more.
func TestFilesOfTheGuestAreNotOverwritten(t *testing.T) {
	f := newFixture(t)
	if err := f.ship(); err != nil {
		t.Fatal(err)
	}
	f.guest.write(t, "one", "work\n")
	for _, states := range []string{"", t.TempDir()} {
		if states != "" {
			f.w = f.open(states)
		}
		if err := f.ship(); api.KindOf(err) != api.KindConflict {
			t.Errorf("%v", err)
		}
		data, err := os.ReadFile(filepath.Join(f.guest.root, directory, "one"))
		if err != nil || string(data) != "work\n" {
			t.Errorf("%q, %v", data, err)
		}
	}
}

func TestApplyAndUndo(t *testing.T) {
	f := newFixture(t)
	if err := f.ship(); err != nil {
		t.Fatal(err)
	}
	for round, want := range []string{"first\n", "second\n"} { // the second is upon the first
		f.guest.write(t, "one", want)
		f.collect()
		s, _, err := f.w.Shipment(vm.ID)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.w.Apply(t.Context(), s, f.w.Newest(s), false); err != nil {
			t.Fatalf("%d: %v", round, err)
		}
		if data, err := os.ReadFile(filepath.Join(f.top, "one")); err != nil || string(data) != want {
			t.Errorf("%q, %v", data, err)
		}
		if got := f.collect(); got != "" {
			t.Errorf("still to be applied: %q", got)
		}
	}
	if _, err := f.w.Undo(t.Context(), vm.ID); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(f.top, "one")); err != nil || string(data) != "first\n" {
		t.Errorf("%q, %v", data, err)
	}
	if got, want := f.collect(), "M one\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestPruneKeepsWhatIsNeeded: the guest's changes are still found.
func TestPruneKeepsWhatIsNeeded(t *testing.T) {
	f := newFixture(t)
	if err := f.ship(); err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"a\n", "b\n", "c\n"} {
		f.guest.write(t, "one", content)
		f.collect()
	}
	s, _, err := f.w.Shipment(vm.ID)
	if err != nil {
		t.Fatal(err)
	}
	removed, err := f.w.Prune(t.Context(), s, 1)
	if err != nil || len(removed) != 2 {
		t.Errorf("%v, %v", removed, err)
	}
	f.git("reflog", "expire", "--expire=now", "--all")
	f.git("gc", "-q", "--prune=now")
	if got, want := f.collect(), "M one\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestLock(t *testing.T) {
	f := newFixture(t)
	unlock, err := f.w.Lock(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	waits := false
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := f.w.Lock(ctx, func() { waits = true }); api.KindOf(err) != api.KindCanceled || !waits {
		t.Errorf("%v, %v", err, waits)
	}
	unlock()
	again, err := f.w.Lock(t.Context(), nil) // the one that gave up may have it for a moment
	if err != nil {
		t.Fatal(err)
	}
	again()
}

func TestLabel(t *testing.T) {
	f := newFixture(t)
	if got := f.w.Label(); got != f.top {
		t.Errorf("%q, want %q", got, f.top)
	}
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 200), strings.Repeat("y", 200))
	if err := os.MkdirAll(long, 0o755); err != nil {
		t.Fatal(err)
	}
	w, err := workspace.Open(t.Context(), long, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if got := w.Label(); len(got) != len("sha256:")+16 {
		t.Errorf("%q", got)
	}
	if own := w.Own([]api.VM{{Name: "a"}, {Name: "b", Labels: map[string]string{workspace.Label: w.Label()}}}); len(own) != 1 || own[0].Name != "b" {
		t.Errorf("%v", own)
	}
}

// TestAFolderWithBangersData: a home directory that is no repository is not sent, with the disks of
// VMs in it.
func TestAFolderWithBangersData(t *testing.T) {
	home := t.TempDir()
	_, err := workspace.Open(t.Context(), home, filepath.Join(home, "data", "workspaces"))
	if api.KindOf(err) != api.KindInvalid || !strings.Contains(err.Error(), "banger's own data is in it") {
		t.Errorf("%v", err)
	}
	if _, err := workspace.Open(t.Context(), home, filepath.Join(t.TempDir(), "workspaces")); err != nil {
		t.Error(err)
	}
}

func TestForget(t *testing.T) {
	f := newFixture(t)
	if err := f.ship(); err != nil {
		t.Fatal(err)
	}
	if err := f.w.Forget([]api.VM{vm}); err != nil {
		t.Fatal(err)
	}
	if _, known, err := f.w.Shipment(vm.ID); err != nil || !known {
		t.Errorf("%v, %v", known, err)
	}
	if err := f.w.Forget(nil); err != nil {
		t.Fatal(err)
	}
	if _, known, err := f.w.Shipment(vm.ID); err != nil || known {
		t.Errorf("%v, %v", known, err)
	}
}

// TestVMsOfAnotherDaemon are not forgotten, nor are their snapshots taken for those of deleted VMs:
// a user can have VMs in user mode and in system mode.
func TestVMsOfAnotherDaemon(t *testing.T) {
	f := newFixture(t)
	f.w.Daemon = "/run/banger/bangerd.sock"
	if err := f.ship(); err != nil {
		t.Fatal(err)
	}
	for daemon, stays := range map[string]bool{"/home/u/bangerd.sock": true, f.w.Daemon: false} {
		f.w.Daemon = daemon
		deleted, err := f.w.Deleted(t.Context(), nil)
		if err != nil || (len(deleted) == 0) != stays {
			t.Errorf("with %s: %v are deleted VMs' (%v)", daemon, deleted, err)
		}
	}
	f.w.Daemon = "/home/u/bangerd.sock"
	if err := f.w.Forget(nil); err != nil {
		t.Fatal(err)
	}
	s, known, err := f.w.Shipment(vm.ID)
	if err != nil || !known || s.Daemon != "/run/banger/bangerd.sock" {
		t.Errorf("%+v, %v, %v", s, known, err)
	}
	f.w.Daemon = s.Daemon
	if err := f.w.Forget(nil); err != nil {
		t.Fatal(err)
	}
	if _, known, _ := f.w.Shipment(vm.ID); known {
		t.Error("what its own daemon does not know is remembered")
	}
}
