package incoming_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"banger/internal/workspace/incoming"
)

// TestWhatBothAgreedOnIsNotIgnored: of a file that was not sent, and that the guest's rules ignore.
func TestWhatBothAgreedOnIsNotIgnored(t *testing.T) {
	fx := ship(t, map[string]string{".gitignore": "*.o\n"})
	fx.edit(t, "tracked.o", "1\n")
	fx.edit(t, "other.o", "1\n")
	r := fx.request()
	r.Tracked = func(path string) bool { return path == "tracked.o" }
	result, err := incoming.Import(context.Background(), fx.repo, fx.guest, r)
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, "diff", fx.diff(t, result.Commit), "A\ttracked.o")
}

// TestAnyCommitWithTheTree: is found, instead of making another one; also without git if nothing at
// all has changed.
func TestAnyCommitWithTheTree(t *testing.T) {
	fx := ship(t, map[string]string{"README": "x\n"})
	fx.edit(t, "README", "y\n")
	first := fx.imports(t)
	fx.edit(t, "README", "z\n")
	fx.imports(t)
	fx.edit(t, "README", "y\n")
	r := fx.request()
	r.Any = true
	began := time.Now().Add(time.Second).UnixNano()
	again, err := incoming.Import(context.Background(), fx.repo, fx.guest, r)
	if err != nil || again.Commit != first.Commit || again.New {
		t.Fatalf("%+v, %v, want %s", again, err, first.Commit)
	}
	again.Began = began
	r.Last, fx.guest.Fetched = &again.State, nil
	before := fx.repo.Calls
	if again, err = incoming.Import(context.Background(), fx.repo, fx.guest, r); err != nil || again.Commit != first.Commit {
		t.Errorf("%+v, %v", again, err)
	}
	if calls := fx.repo.Calls - before; calls > 4 || len(fx.guest.Fetched) > 0 {
		t.Errorf("%d commands, %q", calls, fx.guest.Fetched)
	}
	// A file that was placed may have other rules in it.
	r.Last.Whole = false
	before = fx.repo.Calls
	if again, err = incoming.Import(context.Background(), fx.repo, fx.guest, r); err != nil || again.Commit != first.Commit {
		t.Errorf("%+v, %v", again, err)
	}
	if calls := fx.repo.Calls - before; calls <= 4 {
		t.Errorf("%d commands", calls)
	}
	fx.edit(t, "README", "w\n")
	if again, err = incoming.Import(context.Background(), fx.repo, fx.guest, r); err != nil || !again.New {
		t.Errorf("%+v, %v", again, err)
	}
}

// TestUnknownIsSaid: what the commit does not say of the guest.
func TestUnknownIsSaid(t *testing.T) {
	fx := ship(t, map[string]string{"README": "x\n", "was": "a file\n"})
	g := &script{entries: []incoming.Entry{
		file("README"), {Path: "was", Type: "other"}, file("GIT~1/x"), {Path: "closed", Type: "dir", Unread: "denied"},
	}}
	result, err := incoming.Import(context.Background(), fx.repo, g, fx.request())
	if err != nil {
		t.Fatal(err)
	}
	var unknown []string
	for name := range result.Unknown {
		unknown = append(unknown, name)
	}
	slices.Sort(unknown)
	if want := []string{"GIT~1/x", "closed", "was"}; !slices.Equal(unknown, want) {
		t.Errorf("%q, want %q", unknown, want)
	}
}
