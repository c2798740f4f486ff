package workspace_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"banger/api"
	"banger/internal/workspace"
	"banger/internal/workspace/gitrepo"
	"banger/internal/workspace/remote"
)

// openRemote returns the workspace of the fixture's repository as a remote.
func (f *fixture) openRemote() (*workspace.Workspace, remote.Remote) {
	f.t.Helper()
	r, err := remote.Parse(f.top, "/")
	if err != nil {
		f.t.Fatal(err)
	}
	w, err := workspace.OpenRemote(f.t.Context(), r, f.states)
	if err != nil {
		f.t.Fatal(err)
	}
	return w, r
}

// TestRemote: the clone is a workspace of its own, which is the same by its path, and another than
// that of the repository itself.
func TestRemote(t *testing.T) {
	f := newFixture(t)
	w, r := f.openRemote()
	if w.Repo != nil || w.Name() != "file://"+f.top {
		t.Errorf("before it is cloned: %v, %s", w.Repo, w.Name())
	}
	if _, err := w.Renew(t.Context(), r, gitrepo.GitOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Ship(t.Context(), f.guest, workspace.Cargo{VM: vm, Directory: directory, Select: gitrepo.Select{Commit: true}}); err != nil {
		t.Fatal(err)
	}
	again, _ := f.openRemote()
	link := filepath.Join(t.TempDir(), "states") // also if the way to the state has links
	if err := os.Symlink(f.states, link); err != nil {
		t.Fatal(err)
	}
	byPath, err := workspace.Open(t.Context(), again.Repo.Top(), link)
	if err != nil {
		t.Fatal(err)
	}
	for how, w := range map[string]*workspace.Workspace{"--from": again, "its path": byPath} {
		s, known, err := w.Shipment(vm.ID)
		if err != nil || !known || !s.Done || w.Label() != "file://"+f.top || w.From() != "file://"+f.top {
			t.Errorf("by %s: %+v, label %s, %v", how, s, w.Label(), err)
		}
	}
	if own := f.w.Own([]api.VM{{Labels: map[string]string{workspace.Label: w.Label()}}}); len(own) > 0 {
		t.Error("the VM counts as one of the repository itself")
	}
	if s, known, err := workspace.ShipmentTo(f.states, vm.ID); err != nil || !known || s.Directory != directory {
		t.Errorf("git-remote-banger finds %+v (%v)", s, err)
	}
	f.guest.write(t, "one", "guest\n")
	s, _, _ := again.Shipment(vm.ID)
	result, err := again.Collect(t.Context(), f.guest, s)
	if err != nil {
		t.Fatal(err)
	}
	out, err := again.Repo.Git(t.Context(), nil, nil, "show", result.Commit+":one")
	if err != nil || string(out) != "guest\n" {
		t.Errorf("it has %q (%v)", out, err)
	}
}

// TestRemoteAtOnce: several that begin at once make one clone.
func TestRemoteAtOnce(t *testing.T) {
	f := newFixture(t)
	var all sync.WaitGroup
	for range 3 {
		w, r := f.openRemote()
		all.Go(func() {
			unlock, err := w.Lock(t.Context(), nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer unlock()
			if _, err := w.Renew(t.Context(), r, gitrepo.GitOptions{}); err != nil || w.Repo == nil {
				t.Errorf("%v, %v", w.Repo, err)
			}
		})
	}
	all.Wait()
	w, _ := f.openRemote()
	entries, err := os.ReadDir(filepath.Dir(filepath.Dir(w.Repo.Top())))
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); err != nil || got != "clone lock" {
		t.Errorf("there are %s (%v)", got, err)
	}
}
