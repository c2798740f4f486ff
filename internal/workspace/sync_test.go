package workspace_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"banger/internal/workspace"
	"banger/internal/workspace/worktest"
)

// synced is a fixture whose guest was sent the files.
type synced struct {
	*fixture
	dir   string // of the guest's files
	blobs map[string]string
}

func newSynced(t *testing.T, files map[string]string) *synced {
	t.Helper()
	f := newFixture(t)
	for name, content := range files {
		worktest.Write(t, f.top, name, content)
	}
	if err := f.ship(); err != nil {
		t.Fatal(err)
	}
	return syncedOf(f)
}

func syncedOf(f *fixture) *synced {
	return &synced{f, filepath.Join(f.guest.root, directory), map[string]string{}}
}

// sync makes one pass and describes it: "> path" to the guest, "< path" to the host, "! path: reason".
func (s *synced) sync(keep string) string {
	s.t.Helper()
	r, err := s.try(keep)
	if err != nil {
		s.t.Fatal(err)
	}
	return describe(r)
}

func (s *synced) try(keep string) (workspace.SyncResult, error) {
	return s.w.Sync(s.t.Context(), s.guest, workspace.Shipment{VM: vm.ID}, workspace.SyncRequest{Keep: keep, Snapshots: allOfATest})
}

// allOfATest are more snapshots than a test makes.
const allOfATest = 10_000

func describe(r workspace.SyncResult) string {
	var lines []string
	for _, name := range r.ToGuest {
		lines = append(lines, "> "+name)
	}
	for _, name := range r.ToHost {
		lines = append(lines, "< "+name)
	}
	for _, c := range r.Conflicts {
		lines = append(lines, "! "+c.Path+": "+c.Reason)
	}
	if r.Again {
		lines = append(lines, "again")
	}
	return strings.Join(lines, "\n")
}

// want compares a pass with what is wanted, a line each.
func (s *synced) want(what, got string, lines ...string) {
	s.t.Helper()
	if want := strings.Join(lines, "\n"); got != want {
		s.t.Errorf("%s:\n%s\nwant\n%s", what, got, want)
	}
}

// same fails the test if the sides differ, but for the paths in but.
func (s *synced) same(but ...string) {
	s.t.Helper()
	host, guest := worktest.Files(s.t, s.top, ".git"), worktest.Files(s.t, s.dir, ".git")
	for _, name := range but {
		delete(host, name)
		delete(guest, name)
	}
	if !maps.Equal(host, guest) {
		s.t.Errorf("the host has\n%v\nthe guest\n%v", host, guest)
	}
}

func (s *synced) refs() []string {
	return strings.Fields(s.git("for-each-ref", "--format=%(refname)", "refs/banger"))
}

func (s *synced) onHost(name, content string)  { s.t.Helper(); put(s.t, s.top, name, content) }
func (s *synced) onGuest(name, content string) { s.t.Helper(); put(s.t, s.dir, name, content) }

// put writes a file; an empty content removes it.
func put(t *testing.T, dir, name, content string) {
	t.Helper()
	if content != "" {
		worktest.Write(t, dir, name, content)
		return
	}
	if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// TestEditsGoBothWays: and a pass with nothing to do makes no commit.
func TestEditsGoBothWays(t *testing.T) {
	s := newSynced(t, map[string]string{"dir/old": "old\n", "gone": "gone\n", "lost": "lost\n"})
	s.want("at first", s.sync(""))
	refs := s.refs()
	s.want("nothing", s.sync(""))
	if got := s.refs(); !slices.Equal(got, refs) {
		t.Errorf("a pass without changes made %v of %v", got, refs)
	}
	s.onHost("one", "host\n")
	s.onHost("dir/new", "#!new\n")
	s.onHost("gone", "")
	s.onGuest("two", "guest\n")
	s.onGuest("deep/er/link", "-> ../../one")
	s.onGuest("lost", "")
	s.want("edits", s.sync(""), "> dir/new", "> gone", "> one", "< deep/er/link", "< lost", "< two")
	s.same()
	s.want("then", s.sync(""))
	for round := range 3 {
		before := len(s.refs())
		s.onHost("one", fmt.Sprint("host ", round, "\n"))
		s.want("host", s.sync(""), "> one")
		s.onGuest("one", fmt.Sprint("guest ", round, "\n"))
		s.want("guest", s.sync(""), "< one")
		s.want("nothing", s.sync(""))
		if made := len(s.refs()) - before; made > 2 {
			t.Errorf("%d commits for two edits", made)
		}
	}
	s.same()
	if got := s.git("status", "--porcelain", "two"); !strings.Contains(got, "two") {
		t.Errorf("%q", got)
	}
}

// TestAfterWhatWasPlaced: the next pass does not compare again what was just written to the guest, unless
// that says what git ignores.
func TestAfterWhatWasPlaced(t *testing.T) {
	s := newSynced(t, map[string]string{"a": "a\n"})
	commands := s.countGit()
	s.sync("")
	commands()
	s.sync("")
	idle := commands()
	for _, name := range []string{"a", "new/b", ".GitIgnore", "new/.gitignore"} {
		s.onHost(name, "*.o\n")
		s.want(name, s.sync(""), "> "+name)
		commands()
		s.want("then", s.sync(""))
		light := !strings.EqualFold(filepath.Base(name), ".gitignore")
		if n := commands(); (n <= idle) != light {
			t.Errorf("after %s git ran %d times, and %d if nothing had been written", name, n, idle)
		}
	}
}

// countGit returns a function that says how often git ran since it was called last.
func (s *synced) countGit() func() int {
	s.t.Helper()
	git, err := exec.LookPath("git")
	if err != nil {
		s.t.Fatal(err)
	}
	dir := s.t.TempDir()
	log := filepath.Join(dir, "log")
	script := fmt.Sprintf("#!/bin/sh\necho >> '%s'\nexec '%s' \"$@\"\n", log, git)
	if err := os.WriteFile(filepath.Join(dir, "git"), []byte(script), 0o700); err != nil {
		s.t.Fatal(err)
	}
	s.t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() int {
		lines, _ := os.ReadFile(log)
		_ = os.Remove(log)
		return len(lines)
	}
}

// TestConflictsStay: both sides keep theirs until the user says which one counts.
func TestConflictsStay(t *testing.T) {
	s := newSynced(t, nil)
	s.onHost("one", "host\n")
	s.onGuest("one", "guest\n")
	s.onHost("two", "")
	s.onGuest("two", "changed\n")
	conflicts := []string{"! one: it was changed on both sides", "! two: it was removed here and changed in the guest"}
	s.want("conflicts", s.sync(""), conflicts...)
	refs := s.refs()
	s.want("again", s.sync(""), conflicts...)
	if got := s.refs(); !slices.Equal(got, refs) {
		t.Errorf("%v, were %v", got, refs)
	}
	s.onHost("three", "3\n") // does not wait for them
	s.want("others", s.sync(""), append([]string{"> three"}, conflicts...)...)
	shipment, _, err := s.w.Shipment(vm.ID)
	if err != nil || len(shipment.Conflicts) != 2 {
		t.Errorf("%+v, %v", shipment.Conflicts, err)
	}
	if got := s.git("show", shipment.Conflicts[0].Guest+":one"); got != "guest\n" {
		t.Errorf("%q", got)
	}
	s.want("the host's", s.sync("host"), "> one", "> two")
	s.same()
	s.want("then", s.sync(""))
	s.onHost("one", "mine\n")
	s.onGuest("one", "theirs\n")
	s.want("the guest's", s.sync("guest"), "< one")
	s.same()
}
