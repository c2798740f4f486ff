package workspace_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/workspace"
	"banger/internal/workspace/worktest"
)

// TestAFileThatChangesMeanwhile: after both sides were looked at, and before it is written, on
// either side. Neither version is lost, and the next pass finds them.
func TestAFileThatChangesMeanwhile(t *testing.T) {
	s := newSynced(t, nil)
	s.onHost("one", "host\n")
	s.guest.placer.Before = func(name string) error {
		s.onGuest(name, "guest\n")
		return nil
	}
	s.want("in the guest", s.sync(""), "again")
	s.guest.placer.Before = nil
	s.want("then", s.sync(""), "! one: it was changed on both sides")
	s.want("the host's", s.sync("host"), "> one")

	// A filter runs while the snapshot is taken.
	s.git("config", "filter.hit.clean", "cat; cp hit-one one; cp hit-two two; touch ran")
	s.onHost(".git/info/attributes", "trigger filter=hit\n")
	s.onHost(".git/info/exclude", "/hit-*\n/ran\n")
	s.onHost("hit-one", "1111\n")
	s.onHost("hit-two", "2222\n")
	s.onHost("one", "0000\n")
	s.onHost("trigger", "t\n")
	s.onGuest("two", "guest\n")
	s.want("here", s.sync(""), "> trigger", "again")
	if _, err := os.Stat(filepath.Join(s.top, "ran")); err != nil {
		t.Fatal(err)
	}
	s.want("then", s.sync(""), "> one", "! two: it was changed on both sides")
	if got := worktest.Files(t, s.top, ".git"); got["one"] != "1111\n" || got["two"] != "2222\n" {
		t.Errorf("%q", got)
	}
}

// TestTheGuestsDiskIsFull: what there was room for is agreed on, and the rest is synced later.
func TestTheGuestsDiskIsFull(t *testing.T) {
	s := newSynced(t, nil)
	s.onHost("one", "host\n")
	s.onHost("two", "host\n")
	s.onGuest("three", "guest\n")
	s.guest.placer.Before = func(name string) error {
		if name == "two" {
			return api.Errorf(api.KindNoSpace, "the disk is full")
		}
		return nil
	}
	r, err := s.try("")
	if api.KindOf(err) != api.KindNoSpace || !strings.Contains(err.Error(), `"two"`) {
		t.Errorf("%v", err)
	}
	s.want("what was done", describe(r), "> one", "< three")
	s.guest.placer.Before = nil
	s.want("then", s.sync(""), "> two")
	s.same()
}

// TestAPathThatCannotBeWritten is a conflict, and keeps no other.
func TestAPathThatCannotBeWritten(t *testing.T) {
	s := newSynced(t, nil)
	s.onHost("one", "host\n")
	s.onHost("two", "host\n")
	s.guest.placer.Before = func(name string) error {
		if name == "one" {
			return api.Errorf(api.KindDenied, "read-only file system")
		}
		return nil
	}
	for range 2 {
		got := s.sync("")
		if !strings.HasSuffix(got, "! one: it cannot be written in the guest: read-only file system") {
			t.Error(got)
		}
	}
	s.guest.placer.Before = nil
	s.want("then", s.sync(""), "> one")
	s.same()
}

// TestTheConnectionBreaks: in the middle of what the guest is sent.
func TestTheConnectionBreaks(t *testing.T) {
	s := newSynced(t, nil)
	s.onHost("one", "host\n")
	s.onHost("two", "host\n")
	s.onGuest("three", "guest\n")
	broken := errors.New("broken")
	s.guest.placer.Break = func(name string) error {
		if name == "two" {
			return broken
		}
		return nil
	}
	r, err := s.try("")
	if !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	s.want("what was done", describe(r), "> one", "< three")
	s.guest.placer.Break = nil
	s.onGuest("one", "upon the host's\n") // it is known that both had agreed
	s.want("then", s.sync(""), "> two", "< one")
	s.same()
}

// TestWhatWasPlacedIsNotFetched: the guest's answer says what it has.
func TestWhatWasPlacedIsNotFetched(t *testing.T) {
	s := newSynced(t, nil)
	s.onHost("one", "host\n")
	s.onGuest("two", "guest\n")
	s.sync("")
	s.guest.fetched = nil
	s.onGuest("three", "3\n")
	s.want("then", s.sync(""), "< three")
	s.want("then", s.sync(""))
	if slices.Contains(s.guest.fetched, "one") {
		t.Errorf("%q", s.guest.fetched)
	}
	// At once after it was placed, and of the same size: no listing shows that but by the mtime.
	s.onHost("one", "aaaa\n")
	s.sync("")
	if err := os.WriteFile(filepath.Join(s.dir, "one"), []byte("bbbb\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.want("edited at once", s.sync(""), "< one")
}

// TestTheGuestDoesNotSay what it has: then nothing is taken for removed, or for as it was sent.
func TestTheGuestDoesNotSay(t *testing.T) {
	s := newSynced(t, map[string]string{"d/a": "1\n", "d/b": "1\n"})
	s.onHost("d/a", "2\n")
	s.want("to the guest", s.sync(""), "> d/a")
	s.guest.unread = "d"
	s.want("unread", s.sync(""))
	s.onHost("d/a", "3\n")
	s.want("unread, and changed here", s.sync(""), "! d/a: what the guest has there cannot be imported")
	s.guest.unread = ""
	s.want("then", s.sync(""), "> d/a")
	s.same()
}

// TestOldSnapshotsGo: a sync makes many, and leaves those of others alone.
func TestOldSnapshotsGo(t *testing.T) {
	s := newSynced(t, nil)
	s.onHost("conflict", "host\n")
	s.onGuest("conflict", "guest\n")
	s.sync("")
	first, _, _ := s.w.Shipment(vm.ID)
	for n := range 4 {
		s.onHost("one", strings.Repeat("x", n+1)+"\n")
		if _, err := s.w.Sync(t.Context(), s.guest, workspace.Shipment{VM: vm.ID}, workspace.SyncRequest{Snapshots: 3}); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.refs(); len(got) > 3+6 {
		t.Errorf("%q", got)
	}
	now, _, _ := s.w.Shipment(vm.ID)
	if now.Commit != first.Commit {
		t.Errorf("%+v", now)
	}
	s.git("reflog", "expire", "--expire=now", "--all")
	s.git("gc", "-q", "--prune=now")
	if got := s.git("show", now.Conflicts[0].Guest+":conflict"); got != "guest\n" {
		t.Errorf("%q", got)
	}
	s.want("then", s.sync("guest"), "< conflict")
	s.same()
}

// TestApplyAndSync: what was applied is in the work tree, and what is undone is a change of it.
func TestApplyAndSync(t *testing.T) {
	apply := func(s *synced) {
		s.t.Helper()
		s.collect()
		shipment, _, err := s.w.Shipment(vm.ID)
		if err == nil {
			_, err = s.w.Apply(t.Context(), shipment, s.w.Newest(shipment), false)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s := newSynced(t, map[string]string{"text": "a\nb\nc\nd\ne\n"})
	s.onGuest("one", "guest\n")
	apply(s)
	s.want("applied before", s.sync(""))
	s.onHost("text", "A\nb\nc\nd\ne\n")
	s.onGuest("text", "a\nb\nc\nd\nE\n")
	s.want("both", s.sync(""), "! text: it was changed on both sides")
	apply(s) // merges them
	s.want("merged", s.sync(""), "> text")
	s.same()
	if got := s.collect(); got != "" {
		t.Errorf("still to be applied: %s", got)
	}
	s.onGuest("two", "guest\n")
	apply(s)
	if _, err := s.w.Undo(t.Context(), vm.ID); err != nil {
		t.Fatal(err)
	}
	s.want("undone", s.sync(""), "> two")
	s.same()
	if got := worktest.Files(t, s.top, ".git")["two"]; got != "2\n" {
		t.Errorf("%q", got)
	}
	s.onGuest("two", "again\n")
	s.want("synced", s.sync(""), "< two")
	if got := s.collect(); got != "" {
		t.Errorf("after a sync there is %s", got)
	}
}
