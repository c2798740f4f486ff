package apply_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/workspace/apply"
)

// TestConflicts: nothing is written, and with Partial the rest is.
func TestConflicts(t *testing.T) {
	fx := ship(t, map[string]string{"a": "1\n", "b": "1\n", "c": "1\n", "d/e": "1\n", "f": "1\n", "l": "-> a", "m": "1\n", "g": "1\n", ".gitignore": "*.o\nbuild/\n", "bin": "\x00\x01"})
	outside := t.TempDir()
	fx.edit(t, "good", "good\n")
	fx.edit(t, "a", "guest\n")
	fx.repo.Write(t, "a", "host\n")
	remove(t, fx.guest.Dir, "b", "d")
	fx.repo.Write(t, "b", "host\n")
	fx.edit(t, "c", "guest\n")
	remove(t, fx.repo.Dir, "c")
	fx.edit(t, "d", "a file\n")
	fx.repo.Write(t, "d/mine", "host\n")
	fx.edit(t, "f", "guest\n")
	fx.repo.Write(t, "f", "-> "+outside)
	fx.edit(t, "l", "-> b")
	fx.repo.Write(t, "l", "-> c")
	fx.edit(t, "new", "guest\n")
	fx.repo.Write(t, "new", "host\n")
	fx.edit(t, "build-/x", "fine\n")
	fx.edit(t, "out/x", "guest\n")
	fx.repo.Write(t, "out", "-> "+outside)
	fx.edit(t, "in/x", "guest\n")
	fx.repo.Write(t, "in", "-> d")
	fx.edit(t, "n.o/x", "guest\n")
	fx.edit(t, "bin", "\x00\x02")
	fx.repo.Write(t, "bin", "\x00\x03")
	fx.repo.Write(t, "p.o", "ignored\n")
	fx.repo.Write(t, "m", "host\n")
	fx.edit(t, ".gitignore", "nothing\n")
	fx.edit(t, "p.o", "guest\n")
	r := fx.request(t)
	before, check := fx.files(t), fx.repo.Untouched(t)
	want := map[string]string{
		"a": "both sides changed the same lines", "b": "it was changed here and removed in the guest", "c": "it was removed here and changed in the guest",
		"d": "a directory with other files is here", "f": "it was changed on both sides", "l": "it was changed on both sides",
		"new": "it was added on both sides with different contents", "out/x": "a directory of its path is a symbolic link here",
		"in/x": "a directory of its path is a symbolic link here", "bin": "both sides changed the same lines", "p.o": "a file that git ignores is in its place",
	}
	verify := func(result apply.Result) {
		t.Helper()
		got := map[string]string{}
		for _, c := range result.Conflicts {
			got[c.Path] = c.Reason
		}
		wantFiles(t, "conflicts", got, want)
		check()
	}
	result, err := apply.Apply(ctx, fx.repo, r)
	if api.KindOf(err) != api.KindConflict || !strings.Contains(err.Error(), `"a": both sides`) || !strings.Contains(err.Error(), "1 more") {
		t.Errorf("%v", err)
	}
	verify(result)
	wantFiles(t, "nothing", fx.files(t), before)
	r.Partial = true
	result, err = apply.Apply(ctx, fx.repo, r)
	if err != nil {
		t.Fatal(err)
	}
	verify(result)
	if !slices.Equal(result.Written, []string{".gitignore", "build-/x", "good", "n.o/x"}) || !slices.Equal(result.Removed, []string{"d/e"}) {
		t.Errorf("%q %q", result.Written, result.Removed)
	}
	if left, _ := os.ReadDir(outside); len(left) > 0 {
		t.Errorf("outside: %v", left)
	}
	if _, err := apply.Undo(ctx, fx.repo, fx.dir, fx.repo.Snapshot); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, "undone", fx.files(t), before)
}

// TestChangedMeanwhile: a file that changes after the snapshot is not replaced, and what was
// written before is taken back.
func TestChangedMeanwhile(t *testing.T) {
	fx := ship(t, base)
	fx.edits(t)
	r := fx.request(t)
	before := fx.files(t)
	r.Snapshot = func(ctx context.Context) (string, error) {
		commit, err := fx.repo.Snapshot(ctx)
		fx.repo.Write(t, "guest", "9\n") // of the same size
		return commit, err
	}
	result, err := apply.Apply(ctx, fx.repo, r)
	if api.KindOf(err) != api.KindConflict || !strings.Contains(err.Error(), `"guest"`) || !strings.Contains(err.Error(), "nothing was changed") {
		t.Errorf("%+v %v", result, err)
	}
	before["guest"] = "9\n"
	wantFiles(t, "after", fx.files(t), before)
	if _, err := apply.Undo(ctx, fx.repo, fx.dir, fx.repo.Snapshot); api.KindOf(err) != api.KindNotFound {
		t.Errorf("%v", err)
	}
}
