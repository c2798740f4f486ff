package workspace_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/workspace"
	"banger/internal/workspace/worktest"
)

// withModules is a fixture that was sent with a submodule that has one of its own; both have
// changes that are not committed.
func withModules(t *testing.T) *synced {
	t.Helper()
	f := newFixture(t)
	f.git("config", "user.name", "U")
	f.git("config", "user.email", "u@example.com")
	for _, name := range []string{"inner", "lib"} {
		dir := filepath.Join(t.TempDir(), name)
		worktest.Write(t, dir, "file", name+"\n")
		worktest.Write(t, dir, "gone", name+"\n")
		in(t, dir, "init", "-q")
		in(t, dir, "config", "user.name", "U")
		in(t, dir, "config", "user.email", "u@example.com")
		if name == "lib" {
			in(t, dir, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", f.top+"-inner", "inner")
		}
		in(t, dir, "add", ".")
		in(t, dir, "commit", "-qm", "first")
		in(t, f.top, "clone", "-q", dir, f.top+"-"+name)
	}
	f.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", f.top+"-lib", "deep/lib")
	f.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init", "--recursive")
	f.git("commit", "-qm", "a submodule")
	f.write("deep/lib/file", "dirty\n")
	f.write("deep/lib/inner/new", "untracked\n")
	if err := f.ship(); err != nil {
		t.Fatal(err)
	}
	return syncedOf(f)
}

func in(t *testing.T, dir string, args ...string) {
	t.Helper()
	if out, err := command(dir, args...).CombinedOutput(); err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Error(err)
	}
	return string(data)
}

// labelled is the VM as a workspace finds it.
func (s *synced) labelled() []api.VM {
	own := vm
	own.Labels = map[string]string{workspace.Label: s.w.Label()}
	return []api.VM{own}
}

// module is a submodule of the fixture, as `banger work` finds it there.
func (s *synced) module(name string) *synced {
	s.t.Helper()
	f := *s.fixture
	f.top = filepath.Join(s.top, name)
	f.w = f.open(s.states)
	if own, err := f.w.Join(s.t.Context(), s.labelled()); err != nil || len(own) != 1 {
		s.t.Fatalf("%v, %v", own, err)
	}
	m := syncedOf(&f)
	m.dir = filepath.Join(s.dir, name)
	return m
}

// TestChangesOfSubmodules come back as those of any repository, in their own one.
func TestChangesOfSubmodules(t *testing.T) {
	s := withModules(t)
	lib, inner := s.module("deep/lib"), s.module("deep/lib/inner")
	if lib.collect()+inner.collect() != "" {
		t.Error("without a change there is one")
	}
	lib.onGuest("file", "guest\n")
	lib.onGuest("gone", "")
	inner.onGuest("new", "guest, too\n")
	s.onGuest("one", "guest\n")
	if got := lib.collect(); got != "M file\nD gone\n" {
		t.Errorf("lib: %q", got)
	}
	if got := inner.collect(); got != "M new\n" {
		t.Errorf("inner: %q", got)
	}
	if len(s.guest.fetched) != 2 {
		t.Errorf("fetched %q", s.guest.fetched)
	}
	if got := s.collect(); got != "M one\n" {
		t.Errorf("the top: %q", got)
	}
	lib.onHost("gone", "edited\n") // a conflict in a submodule is one
	shipment, _, err := lib.w.Shipment(vm.ID)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := lib.w.Apply(t.Context(), shipment, lib.w.Newest(shipment), false); err == nil || len(r.Conflicts) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	lib.onHost("gone", "lib\n")
	if r, err := lib.w.Apply(t.Context(), shipment, lib.w.Newest(shipment), false); err != nil || len(r.Written)+len(r.Removed) != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	// What the submodule needs stays, whatever goes of the top's.
	s.onGuest("one", "guest again\n")
	s.collect()
	top, _, _ := s.w.Shipment(vm.ID)
	if _, err := s.w.Prune(t.Context(), top, 0); err != nil {
		t.Fatal(err)
	}
	in(t, lib.top, "gc", "-q", "--prune=now")
	in(t, lib.top, "cat-file", "-e", lib.w.Newest(shipment))
	if _, err := lib.w.Undo(t.Context(), vm.ID); err != nil {
		t.Fatal(err)
	}
	if file, gone := read(t, filepath.Join(lib.top, "file")), read(t, filepath.Join(lib.top, "gone")); file != "dirty\n" || gone != "lib\n" {
		t.Errorf("undone: %q, %q", file, gone)
	}
	if got := lib.git("branch", "--list"); strings.Contains(got, "banger") {
		t.Errorf("branches: %s", got)
	}
}

// TestSyncOfSubmodules: the top's leaves them alone and says so, their own goes both ways.
func TestSyncOfSubmodules(t *testing.T) {
	s := withModules(t)
	lib, inner := s.module("deep/lib"), s.module("deep/lib/inner")
	lib.onGuest("file", "guest\n")
	lib.onHost("added", "host\n")
	inner.onHost("file", "host\n")
	s.onGuest("one", "guest\n")
	r, err := s.try("")
	if err != nil {
		t.Fatal(err)
	}
	s.want("the top", describe(r), "< one")
	if len(r.Warnings) != 1 || r.Warnings[0].Path != "deep/lib" || !strings.Contains(r.Warnings[0].Text, "banger sync") {
		t.Errorf("%+v", r.Warnings)
	}
	lib.want("lib", lib.sync(""), "> added", "< file")
	inner.want("inner", inner.sync(""), "> file")
	lib.want("then", lib.sync(""))
	for name, want := range map[string]string{"deep/lib/file": "guest\n", "deep/lib/added": "host\n", "deep/lib/inner/file": "host\n", "one": "guest\n"} {
		for _, dir := range []string{s.top, s.dir} {
			if got := read(t, filepath.Join(dir, name)); got != want {
				t.Errorf("%s in %s: %q, want %q", name, dir, got, want)
			}
		}
	}
	lib.onHost("file", "again\n")
	lib.want("again", lib.sync(""), "> file")
}

// TestWhatIsNoSubmodule of a workspace with a VM.
func TestWhatIsNoSubmodule(t *testing.T) {
	s := withModules(t)
	join := func(path string, vms []api.VM) (int, error) {
		t.Helper()
		w, err := workspace.Open(t.Context(), path, s.states)
		if err != nil {
			t.Fatal(err)
		}
		own, err := w.Join(t.Context(), vms)
		return len(own), err
	}
	for what, path := range map[string]string{"the top": s.top, "a clone of its own": s.top + "-lib", "a folder": t.TempDir()} {
		if n, err := join(path, s.labelled()); n != 0 || err != nil {
			t.Errorf("%s has %d VMs, %v", what, n, err)
		}
	}
	if n, err := join(filepath.Join(s.top, "deep/lib"), nil); n != 0 || err != nil {
		t.Errorf("without a VM: %d, %v", n, err)
	}
	// It was not there when the files were sent.
	s.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", s.top+"-inner", "later")
	if _, err := join(filepath.Join(s.top, "later"), s.labelled()); api.KindOf(err) != api.KindConflict || !strings.Contains(err.Error(), "later") {
		t.Errorf("%v", err)
	}
}
