package incoming_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"banger/internal/workspace/incoming"
	"banger/internal/workspace/worktest"
)

// fixture is a repository, and a guest that was sent its files.
type fixture struct {
	repo    *worktest.Repo
	guest   *worktest.Guest
	shipped incoming.State
}

// ship makes a repository with files and sends them to a guest.
func ship(t testing.TB, files map[string]string, args ...string) *fixture {
	t.Helper()
	fx := &fixture{repo: worktest.New(t, args...), guest: &worktest.Guest{Dir: t.TempDir()}}
	fx.repo.Commit(t, files)
	fx.send(t)
	return fx
}

// send copies the work tree to the guest, as it lies.
func (fx *fixture) send(t testing.TB) {
	t.Helper()
	commit, err := fx.repo.Snapshot(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-a", "--remove-destination", fx.repo.Dir+"/.", fx.guest.Dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	fx.shipped = incoming.State{Commit: commit}
	fx.shipped.Entries, err = fx.guest.List()
	if err != nil {
		t.Fatal(err)
	}
	fx.guest.Fetched = nil
}

func (fx *fixture) request() incoming.Request {
	return incoming.Request{VM: worktest.VM, Shipped: fx.shipped, Record: fx.repo.Record}
}

func (fx *fixture) edit(t testing.TB, name, content string) {
	t.Helper()
	worktest.Write(t, fx.guest.Dir, name, content)
}

func (fx *fixture) remove(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.RemoveAll(filepath.Join(fx.guest.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// imports imports, and fails the test if that fails or touches what is the user's.
func (fx *fixture) imports(t testing.TB) incoming.Result {
	t.Helper()
	check := fx.repo.Untouched(t)
	result, err := importInto(fx)
	if err != nil {
		t.Fatal(err)
	}
	check()
	fx.noQuarantine(t)
	return result
}

func importInto(fx *fixture) (incoming.Result, error) {
	return incoming.Import(context.Background(), fx.repo, fx.guest, fx.request())
}

func (fx *fixture) noQuarantine(t testing.TB) {
	t.Helper()
	left, _ := filepath.Glob(filepath.Join(fx.repo.Dir, ".git/objects/tmp_*"))
	if len(left) > 0 {
		t.Errorf("left in the repository: %q", left)
	}
}

// diff is the difference from the shipped snapshot, a line each.
func (fx *fixture) diff(t testing.TB, commit string) string {
	t.Helper()
	return fx.repo.Run(t, "-c", "core.quotePath=false", "diff-tree", "-r", "--no-renames", "--name-status", fx.shipped.Commit, commit)
}

func wantLines(t testing.TB, what, got string, want ...string) {
	t.Helper()
	slices.Sort(want)
	lines := strings.Split(got, "\n")
	slices.Sort(lines)
	if got == "" {
		lines = nil
	}
	if !slices.Equal(lines, want) {
		t.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

var files = map[string]string{
	"README":        "read\n",
	"run":           "#!/bin/sh\n",
	"src/main.c":    "int main;\n",
	"src/gone.c":    "gone\n",
	"src/util/a.c":  "a\n",
	"link":          "-> README",
	".gitignore":    "*.o\n/build/\n",
	"a name\nwith ": "newline\n",
	"größe":         "utf-8\n",
	"be/dir/file":   "1\n",
}

func TestChanges(t *testing.T) {
	fx := ship(t, files)
	fx.edit(t, "README", "read me\n")
	fx.edit(t, "new\nfile", "new\n")
	fx.edit(t, "src/new/deep/file", "#!/bin/sh\necho\n")
	fx.edit(t, "link", "-> src")
	fx.edit(t, "src/new/link", "-> /etc/passwd")
	fx.edit(t, "src/a.o", "ignored\n")
	fx.edit(t, "build/x/y", "ignored\n")
	fx.remove(t, "src/gone.c", "src/util", "be/dir")
	fx.edit(t, "be/dir", "now a file\n")
	if err := os.Chmod(filepath.Join(fx.guest.Dir, "src/main.c"), 0o755); err != nil {
		t.Fatal(err)
	}
	result := fx.imports(t)
	wantLines(t, "diff", fx.diff(t, result.Commit),
		"M\tREADME", "A\t\"new\\nfile\"", "A\tsrc/new/deep/file", "M\tlink", "A\tsrc/new/link", "D\tsrc/gone.c", "D\tsrc/util/a.c",
		"M\tsrc/main.c", "D\tbe/dir/file", "A\tbe/dir")
	if !result.New || result.Ignored != 2 {
		t.Errorf("result: %+v", result)
	}
	if got := fx.repo.Run(t, "ls-tree", result.Commit, "src/main.c", "src/new/link"); !strings.Contains(got, "100755 blob") || !strings.Contains(got, "120000 blob") {
		t.Errorf("modes:\n%s", got)
	}
	if got := fx.repo.Run(t, "show", "-s", "--format=%an|%P|%s", result.Commit); got != "banger guest of dev|"+fx.shipped.Commit+"|The files of VM dev" {
		t.Errorf("commit: %s", got)
	}
	if got := fx.repo.Run(t, "rev-parse", "refs/banger/dev/2"); got != result.Commit {
		t.Errorf("refs/banger/dev/2 is %s", got)
	}
	fx.repo.Run(t, "fsck", "--strict", "--no-dangling")
}

// TestOnlyWhatChangedIsFetched: also when the last import is known.
func TestOnlyWhatChangedIsFetched(t *testing.T) {
	fx := ship(t, files)
	fx.edit(t, "README", "read me\n")
	fx.edit(t, "new", "new\n")
	fx.edit(t, "a.o", "ignored\n")
	first := fx.imports(t)
	slices.Sort(fx.guest.Fetched)
	if want := []string{"README", "new"}; !slices.Equal(fx.guest.Fetched, want) {
		t.Errorf("fetched %q, want %q", fx.guest.Fetched, want)
	}
	fx.guest.Fetched = nil
	fx.edit(t, "src/main.c", "more\n")
	fx.remove(t, "new")
	r := fx.request()
	r.Last = &first.State
	second, err := incoming.Import(context.Background(), fx.repo, fx.guest, r)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"src/main.c"}; !slices.Equal(fx.guest.Fetched, want) {
		t.Errorf("fetched %q, want %q", fx.guest.Fetched, want)
	}
	wantLines(t, "diff", fx.diff(t, second.Commit), "M\tREADME", "M\tsrc/main.c")
}

// TestAKnownStateIsNoNewCommit: the shipped one, and the last one.
func TestAKnownStateIsNoNewCommit(t *testing.T) {
	fx := ship(t, files)
	if result := fx.imports(t); result.New || result.Commit != fx.shipped.Commit {
		t.Errorf("nothing changed: %+v", result)
	}
	fx.edit(t, "README", "read\n") // another inode with the same content
	if result := fx.imports(t); result.New || result.Commit != fx.shipped.Commit {
		t.Errorf("the same content: %v %s", result.New, result.Commit)
	}
	fx.edit(t, "README", "read me\n")
	first := fx.imports(t)
	second := fx.imports(t)
	if !first.New || second.New || first.Commit != second.Commit {
		t.Errorf("first %v %s, again %v %s", first.New, first.Commit, second.New, second.Commit)
	}
	wantLines(t, "refs", fx.repo.Run(t, "for-each-ref", "--format=%(refname)", "refs/banger"), "refs/banger/dev/1", "refs/banger/dev/2")
}

// TestTheShippedStateIsTheDirtyOne: what the user had not committed is not a change of the
// guest's.
func TestTheShippedStateIsTheDirtyOne(t *testing.T) {
	fx := ship(t, files)
	fx.repo.Write(t, "README", "dirty\n")
	fx.repo.Write(t, "untracked", "u\n")
	fx.send(t)
	fx.edit(t, "src/main.c", "changed\n")
	wantLines(t, "diff", fx.diff(t, fx.imports(t).Commit), "M\tsrc/main.c")
}

// TestSHA256: a repository with the other kind of names.
func TestSHA256(t *testing.T) {
	fx := ship(t, files, "--object-format=sha256")
	fx.edit(t, "README", "read me\n")
	fx.remove(t, "src/gone.c")
	wantLines(t, "diff", fx.diff(t, fx.imports(t).Commit), "M\tREADME", "D\tsrc/gone.c")
}

// TestWhatWasNotSentStays: as in a sparse checkout.
func TestWhatWasNotSentStays(t *testing.T) {
	fx := ship(t, files)
	fx.shipped.Entries = slices.DeleteFunc(fx.shipped.Entries, func(e incoming.Entry) bool { return e.Path == "src/gone.c" })
	fx.remove(t, "src/gone.c", "README")
	wantLines(t, "diff", fx.diff(t, fx.imports(t).Commit), "D\tREADME")
}

// TestManyFilesBecomeAPack: more than a hundred objects.
func TestManyFilesBecomeAPack(t *testing.T) {
	fx := ship(t, files)
	var want []string
	for n := range 150 {
		name := "many/" + strings.Repeat("x", n+1)
		fx.edit(t, name, name)
		want = append(want, "A\t"+name)
	}
	result := fx.imports(t)
	wantLines(t, "diff", fx.diff(t, result.Commit), want...)
	if packs, _ := filepath.Glob(filepath.Join(fx.repo.Dir, ".git/objects/pack/*.pack")); len(packs) != 1 {
		t.Errorf("packs: %q", packs)
	}
	fx.repo.Run(t, "fsck", "--strict", "--no-dangling")
}
