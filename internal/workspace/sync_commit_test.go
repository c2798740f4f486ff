package workspace_test

import (
	"slices"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/workspace"
	"banger/internal/workspace/gitrepo"
	"banger/internal/workspace/worktest"
)

// committed is a fixture whose guest was sent HEAD alone, and whose work tree has more.
func committed(t *testing.T) *synced {
	t.Helper()
	f := newFixture(t)
	f.write("one", "not committed\n")
	f.write("secret", "of this host\n")
	f.write(".env", "ignored\n")
	worktest.Write(t, f.top, ".git/info/exclude", ".env\n")
	_, err := f.w.Ship(t.Context(), f.guest, workspace.Cargo{
		VM: vm, Directory: directory, Select: gitrepo.Select{Commit: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	return syncedOf(f)
}

// TestHEADAlone: what is not committed stays here, until the user says otherwise.
func TestHEADAlone(t *testing.T) {
	s := committed(t)
	s.onGuest("two", "guest\n")
	for _, keep := range []string{"", "host", "guest"} {
		_, err := s.try(keep)
		if api.KindOf(err) != api.KindConflict || !strings.Contains(api.AsError(err).Hint, "banger sync --all") {
			t.Errorf("%v", err)
		}
	}
	if got := worktest.Files(t, s.dir, ".git"); len(got) != 2 || got["one"] != "1\n" {
		t.Errorf("the guest has %q", got)
	}
	if got := worktest.Files(t, s.top, ".git")["two"]; got != "2\n" {
		t.Errorf("the host has %q", got)
	}
	r, err := s.w.Sync(t.Context(), s.guest, workspace.Shipment{VM: vm.ID}, workspace.SyncRequest{All: true})
	if err != nil {
		t.Fatal(err)
	}
	s.want("all", describe(r), "> one", "> secret", "< two")
	s.onHost("one", "later\n")
	s.want("from then on", s.sync(""), "> one")
	s.same(".env")
	if _, there := worktest.Files(t, s.dir, ".git")[".env"]; there {
		t.Error("an ignored file is in the guest")
	}
}

// TestWhatHEADHasNow is compared with what was sent of it, and not with the work tree.
func TestWhatHEADHasNow(t *testing.T) {
	s := committed(t)
	want := func(what string, names ...string) {
		t.Helper()
		shipment, _, err := s.w.Shipment(vm.ID)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.w.HostChanges(t.Context(), shipment); err != nil || !slices.Equal(got, names) {
			t.Errorf("%s: %q, %v; want %q", what, got, err, names)
		}
	}
	want("not committed")
	s.onGuest("two", "guest\n")
	s.collect()
	shipment, _, err := s.w.Shipment(vm.ID)
	if err == nil {
		_, err = s.w.Apply(t.Context(), shipment, s.w.Newest(shipment), false)
	}
	if err != nil {
		t.Fatal(err)
	}
	want("applied")
	s.git("-c", "user.name=U", "-c", "user.email=u@example.com", "commit", "-qam", "all")
	want("committed: the guest has two of it", "one")
}
