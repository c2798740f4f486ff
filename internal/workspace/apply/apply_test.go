package apply_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"banger/api"
	"banger/internal/workspace/apply"
	"banger/internal/workspace/incoming"
	"banger/internal/workspace/worktest"
)

var ctx = context.Background()

// fixture is a repository, a guest that was sent its files, and a directory of banger's.
type fixture struct {
	repo    *worktest.Repo
	guest   *worktest.Guest
	shipped incoming.State
	dir     string
}

func ship(t testing.TB, files map[string]string) *fixture {
	t.Helper()
	fx := &fixture{repo: worktest.New(t), guest: &worktest.Guest{Dir: t.TempDir()}, dir: filepath.Join(t.TempDir(), "state")}
	fx.repo.Commit(t, files)
	fx.send(t)
	return fx
}

func (fx *fixture) send(t testing.TB) {
	t.Helper()
	commit, err := fx.repo.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-a", "--remove-destination", fx.repo.Dir+"/.", fx.guest.Dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.RemoveAll(filepath.Join(fx.guest.Dir, ".git")); err != nil {
		t.Fatal(err)
	}
	fx.shipped = incoming.State{Commit: commit}
	fx.shipped.Entries, err = fx.guest.List()
	if err != nil {
		t.Fatal(err)
	}
}

func (fx *fixture) edit(t testing.TB, name, content string) {
	t.Helper()
	worktest.Write(t, fx.guest.Dir, name, content)
}

func remove(t testing.TB, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil && !errors.Is(err, syscall.ENOTDIR) {
			t.Fatal(err)
		}
	}
}

// request imports what the guest has.
func (fx *fixture) request(t testing.TB) apply.Request {
	t.Helper()
	result, err := incoming.Import(ctx, fx.repo, fx.guest, incoming.Request{VM: worktest.VM, Shipped: fx.shipped, Record: fx.repo.Record})
	if err != nil {
		t.Fatal(err)
	}
	return apply.Request{Shipped: fx.shipped.Commit, Guest: result.Commit, Snapshot: fx.repo.Snapshot, Dir: fx.dir}
}

func (fx *fixture) files(t testing.TB) map[string]string {
	return worktest.Files(t, fx.repo.Dir, ".git")
}

func wantFiles(t testing.TB, what string, got, want map[string]string) {
	t.Helper()
	for name, content := range want {
		if is, found := got[name]; !found || is != content {
			t.Errorf("%s: %q is %q, want %q", what, name, is, content)
		}
	}
	for name := range got {
		if _, found := want[name]; !found {
			t.Errorf("%s: %q is there", what, name)
		}
	}
}

var base = map[string]string{
	"same":          "same\n",
	"guest":         "1\n",
	"host":          "1\n",
	"both":          "1\n2\n3\n4\n5\n6\n7\n",
	"gone":          "gone\n",
	"script":        "#!/bin/sh\n",
	"link":          "-> same",
	"file-to-dir":   "f\n",
	"link-to-dir":   "-> deep",
	"dir-to-file/a": "a\n",
	"deep/er/file":  "deep\n",
	".gitignore":    "*.o\n",
}

// edits makes changes on both sides that do not conflict.
func (fx *fixture) edits(t testing.TB) {
	fx.edit(t, "guest", "2\n")
	fx.edit(t, "both", "1\n2\n3\n4\n5\n6\nseven\n")
	fx.edit(t, "new dir/new", "#!new\n")
	fx.edit(t, "link", "-> guest")
	remove(t, fx.guest.Dir, "gone", "file-to-dir", "link-to-dir", "dir-to-file", "deep")
	fx.edit(t, "link-to-dir/x", "x\n")
	fx.edit(t, "file-to-dir/x", "x\n")
	fx.edit(t, "dir-to-file", "a file\n")
	fx.repo.Write(t, "host", "2\n")
	fx.repo.Write(t, "both", "one\n2\n3\n4\n5\n6\n7\n")
	fx.repo.Write(t, "untracked", "u\n")
	fx.repo.Write(t, "ignored.o", "mine\n")
	fx.repo.Run(t, "add", "host") // and the index has something that HEAD has not
}

var edited = map[string]string{
	"same": "same\n", "guest": "2\n", "host": "2\n", "both": "one\n2\n3\n4\n5\n6\nseven\n", "script": "#!/bin/sh\n", "link": "-> guest",
	"file-to-dir/x": "x\n", "link-to-dir/x": "x\n", "dir-to-file": "a file\n", ".gitignore": "*.o\n", "new dir/new": "#!new\n", "untracked": "u\n", "ignored.o": "mine\n",
}

func TestApplyAndUndo(t *testing.T) {
	fx := ship(t, base)
	fx.edits(t)
	for name, mode := range map[string]os.FileMode{"guest": 0o600, "both": 0o664} {
		if err := os.Chmod(filepath.Join(fx.repo.Dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	r := fx.request(t)
	before, check := fx.files(t), fx.repo.Untouched(t)
	result, err := apply.Apply(ctx, fx.repo, r)
	if err != nil {
		t.Fatal(err)
	}
	check()
	wantFiles(t, "applied", fx.files(t), edited)
	if got, want := fmt.Sprint(result.Written, result.Removed), "[both dir-to-file file-to-dir/x guest link link-to-dir/x new dir/new] [deep/er/file dir-to-file/a file-to-dir gone link-to-dir]"; got != want {
		t.Errorf("result %s, want %s", got, want)
	}
	for name, want := range map[string]os.FileMode{"guest": 0o600, "both": 0o664, "new dir/new": 0o755, "dir-to-file": 0o644} {
		if info, err := os.Stat(filepath.Join(fx.repo.Dir, name)); err != nil || info.Mode() != want {
			t.Errorf("%s: %v %v, want %v", name, info.Mode(), err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(fx.repo.Dir, "deep")); err == nil {
		t.Error("an empty directory is left")
	}
	if again, err := apply.Apply(ctx, fx.repo, r); err != nil || len(again.Written)+len(again.Removed) > 0 {
		t.Errorf("again: %+v %v", again, err)
	}
	undone, err := apply.Undo(ctx, fx.repo, fx.dir, fx.repo.Snapshot)
	if err != nil {
		t.Fatal(err)
	}
	check()
	wantFiles(t, "undone", fx.files(t), before)
	if len(undone.Restored) != 12 || fx.repo.Run(t, "show", undone.Snapshot+":guest") != "2" {
		t.Errorf("%+v", undone)
	}
	if info, err := os.Stat(filepath.Join(fx.repo.Dir, "guest")); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if _, err := apply.Undo(ctx, fx.repo, fx.dir, fx.repo.Snapshot); api.KindOf(err) != api.KindNotFound {
		t.Errorf("a second time: %v", err)
	}
	left, _ := os.ReadDir(fx.dir)
	if len(left) != 1 || left[0].Name() != "lock" {
		t.Errorf("left: %v", left)
	}
}

// TestUndoRefuses: what was changed since is named, and nothing is restored.
func TestUndoRefuses(t *testing.T) {
	fx := ship(t, base)
	fx.edits(t)
	if _, err := apply.Apply(ctx, fx.repo, fx.request(t)); err != nil {
		t.Fatal(err)
	}
	fx.repo.Write(t, "guest", "3\n")
	remove(t, fx.repo.Dir, "new dir")
	fx.repo.Write(t, "gone", "again\n")
	fx.repo.Write(t, "file-to-dir/mine", "m\n")
	before := fx.files(t)
	_, err := apply.Undo(ctx, fx.repo, fx.dir, fx.repo.Snapshot)
	// new dir/new is absent, as before.
	if api.KindOf(err) != api.KindConflict || !strings.HasSuffix(err.Error(), `: "file-to-dir", "gone", "guest"`) {
		t.Errorf("%v", err)
	}
	wantFiles(t, "after", fx.files(t), before)
}

// TestUndoRefusesAFileAbove: where the directory was of a file that Apply removed.
func TestUndoRefusesAFileAbove(t *testing.T) {
	fx := ship(t, base)
	fx.edits(t)
	if _, err := apply.Apply(ctx, fx.repo, fx.request(t)); err != nil {
		t.Fatal(err)
	}
	fx.repo.Write(t, "deep", "mine\n")
	before := fx.files(t)
	_, err := apply.Undo(ctx, fx.repo, fx.dir, fx.repo.Snapshot)
	if api.KindOf(err) != api.KindConflict || !strings.HasSuffix(err.Error(), `: "deep/er/file"`) {
		t.Errorf("%v", err)
	}
	wantFiles(t, "after", fx.files(t), before)
}

// TestLineEndsAndFilters: files are written as git would check them out, by the attributes that
// the host has.
func TestLineEndsAndFilters(t *testing.T) {
	fx := ship(t, map[string]string{".gitattributes": "*.txt text eol=crlf\n*.up filter=up\n", "a.txt": "1\r\n", "a.up": "abc\n"})
	marker := filepath.Join(t.TempDir(), "marker")
	fx.repo.Run(t, "config", "filter.up.clean", "tr a-z A-Z")
	fx.repo.Run(t, "config", "filter.up.smudge", "tr A-Z a-z")
	fx.repo.Run(t, "config", "filter.evil.smudge", "touch "+marker+"; cat")
	fx.repo.Commit(t, map[string]string{"a.up": "def\n"})
	fx.send(t)
	fx.edit(t, "a.txt", "1\r\n2\r\n")
	fx.edit(t, "a.up", "xyz\n")
	fx.edit(t, "new\nline.txt", "n\r\n")
	fx.edit(t, ".gitattributes", "* filter=evil\n")
	fx.edit(t, "e", "evil\n")
	if _, err := apply.Apply(ctx, fx.repo, fx.request(t)); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, "applied", fx.files(t), map[string]string{
		"a.txt": "1\r\n2\r\n", "a.up": "xyz\n", "new\nline.txt": "n\r\n", ".gitattributes": "* filter=evil\n", "e": "evil\n",
	})
	if _, err := os.Stat(marker); err == nil {
		t.Error("a filter ran because the guest said so")
	}
}

// TestAttributesOutsideOfASparseCheckout: .gitattributes files that the work tree does not have count as they
// are in the snapshot, those of all directories above a file.
func TestAttributesOutsideOfASparseCheckout(t *testing.T) {
	attributes := []string{":odd/sub/.gitattributes", ":odd/.gitattributes"}
	fx := ship(t, map[string]string{
		attributes[0]: "*.txt eol=crlf\n", attributes[1]: "*.txt text\n*.md text eol=crlf\n",
		":odd/sub/a.txt": "1\r\n", ":odd/sub/b.md": "1\r\n", "c.txt": "1\n",
	})
	for _, name := range attributes {
		fx.repo.Run(t, "--literal-pathspecs", "update-index", "--skip-worktree", name)
		if err := os.Remove(filepath.Join(fx.repo.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	fx.edit(t, ":odd/sub/a.txt", "2\r\n")
	fx.edit(t, ":odd/sub/b.md", "2\r\n")
	fx.edit(t, "c.txt", "2\n")
	if _, err := apply.Apply(ctx, fx.repo, fx.request(t)); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, "applied", fx.files(t), map[string]string{":odd/sub/a.txt": "2\r\n", ":odd/sub/b.md": "2\r\n", "c.txt": "2\n"})
}

// TestNamesOfAnyBytes: they survive the journal.
func TestNamesOfAnyBytes(t *testing.T) {
	odd := "\xff\xfe <\u2028>\n"
	fx := ship(t, map[string]string{odd + "a": "1\n", odd + "link": "-> " + odd})
	before := fx.files(t)
	fx.edit(t, odd+"a", "2\n")
	fx.edit(t, odd+"link", "-> x"+odd)
	fx.edit(t, odd+"/new", "n\n")
	if _, err := apply.Apply(ctx, fx.repo, fx.request(t)); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, "applied", fx.files(t), map[string]string{odd + "a": "2\n", odd + "link": "-> x" + odd, odd + "/new": "n\n"})
	if _, err := apply.Undo(ctx, fx.repo, fx.dir, fx.repo.Snapshot); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, "undone", fx.files(t), before)
}
