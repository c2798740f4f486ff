package incoming_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"banger/api"
	"banger/internal/workspace/incoming"
	"banger/internal/workspace/worktest"
)

var longAgo = time.Now().Add(-48 * time.Hour)

// TestWhatGitIgnores: by the shipped rules, the user's own, and those that the guest changed.
func TestWhatGitIgnores(t *testing.T) {
	fx := ship(t, map[string]string{".gitignore": "*.o\nnode_modules/\nout\n", "a.c": "a\n", "sub/.gitignore": "*.tmp\n", "sub/x": "x\n"})
	fx.repo.Run(t, "config", "core.excludesFile", "~/ignore")
	worktest.Write(t, os.Getenv("HOME"), "ignore", "*.swp\n")
	worktest.Write(t, fx.repo.Dir, ".git/info/exclude", "private\n")
	for _, name := range []string{"a.o", "sub/b.o", "sub/c.tmp", "d.tmp", "x.swp", "private", "out/x", "vendor/node_modules/p/y"} {
		fx.edit(t, name, "x\n")
	}
	fx.edit(t, ".venv/.gitignore", "*\n") // as Python's venv writes it
	fx.edit(t, ".venv/bin/python", "#!x\n")
	fx.edit(t, "node_modules/p/.gitignore", "!*\n")
	fx.edit(t, "node_modules/p/z", "z\n")
	fx.edit(t, "lib/.gitignore", "*.gen\n!important.gen\n")
	fx.edit(t, "lib/a.gen", "x\n")
	fx.edit(t, "lib/important.gen", "x\n")
	result := fx.imports(t)
	wantLines(t, "diff", fx.diff(t, result.Commit), "A\td.tmp", "A\tlib/.gitignore", "A\tlib/important.gen")
	if slices.Contains(fx.guest.Fetched, "node_modules/p/.gitignore") {
		t.Error("rules in an ignored directory were fetched")
	}
	// The guest's rules replace the shipped ones: in the guest, git would say the same.
	fx.edit(t, ".gitignore", "*.o\nd.tmp\n")
	wantLines(t, "diff", fx.diff(t, fx.imports(t).Commit), "M\t.gitignore", "A\tlib/.gitignore", "A\tlib/important.gen", "A\tout/x",
		"A\tnode_modules/p/.gitignore", "A\tnode_modules/p/z", "A\tvendor/node_modules/p/y")
}

// TestTrackedIsNotIgnored: as in git.
func TestTrackedIsNotIgnored(t *testing.T) {
	fx := ship(t, map[string]string{".gitignore": "nothing\n", "dist/app.js": "1\n"})
	fx.repo.Write(t, ".gitignore", "dist/\n")
	fx.send(t)
	fx.edit(t, "dist/app.js", "2\n")
	fx.edit(t, "dist/new.js", "3\n")
	wantLines(t, "diff", fx.diff(t, fx.imports(t).Commit), "M\tdist/app.js")
}

// TestLineEnds: as the shipped attributes say, and never as the guest's.
func TestLineEnds(t *testing.T) {
	fx := ship(t, map[string]string{".gitattributes": "*.txt text\n*.bin -text\n", "a.txt": "1\n", "b.bin": "1\n", "sub/.gitattributes": "*.c text eol=crlf\n", "sub/a.c": "1\n"})
	fx.edit(t, "a.txt", "1\r\n2\r\n")
	fx.edit(t, "b.bin", "1\r\n")
	fx.edit(t, "sub/a.c", "1\r\n2\r\n")
	fx.edit(t, "new\nline.txt", "1\r\n")
	fx.edit(t, "new.dat", "1\r\n")
	fx.edit(t, ".gitattributes", "* text\n")
	commit := fx.imports(t).Commit
	for name, want := range map[string]string{"a.txt": "1\n2\n", "b.bin": "1\r\n", "sub/a.c": "1\n2\n", "new\nline.txt": "1\n", "new.dat": "1\r\n", ".gitattributes": "* text\n"} {
		if got := fx.repo.Run(t, "cat-file", "blob", commit+":"+name) + "\n"; got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

// TestFilters: those of the shipped attributes run, those of the guest's do not, and one that
// fails loses nothing.
func TestFilters(t *testing.T) {
	fx := ship(t, map[string]string{".gitattributes": "*.up filter=up\n*.bad filter=bad\n", "a.up": "x\n", "r": "r\n"})
	marker := filepath.Join(t.TempDir(), "marker")
	fx.repo.Run(t, "config", "filter.up.clean", "tr a-z A-Z")
	fx.repo.Run(t, "config", "filter.bad.clean", "false")
	fx.repo.Run(t, "config", "filter.bad.required", "true")
	fx.repo.Run(t, "config", "filter.evil.clean", "touch "+marker)
	fx.edit(t, "a.up", "abc\n")
	fx.edit(t, "b.up", "#!new\n")
	fx.edit(t, "c.bad", "bad\n")
	fx.edit(t, "d.evil", "evil\n")
	fx.edit(t, ".gitattributes", "* filter=evil\n")
	fx.edit(t, "sub/.gitattributes", "* filter=evil\n")
	fx.edit(t, "sub/e", "evil\n")
	result := fx.imports(t)
	for name, want := range map[string]string{"a.up": "ABC", "b.up": "#!NEW", "c.bad": "bad", "d.evil": "evil", "sub/e": "evil", "sub/.gitattributes": "* filter=evil"} {
		if got := fx.repo.Run(t, "cat-file", "blob", result.Commit+":"+name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("a filter ran because the guest said so")
	}
	if len(result.Warnings) != 1 || result.Warnings[0].Path != "c.bad" {
		t.Errorf("warnings: %+v", result.Warnings)
	}
	if got := fx.repo.Run(t, "ls-tree", result.Commit, "b.up"); !strings.HasPrefix(got, "100755") {
		t.Errorf("mode: %s", got)
	}
}

// TestSubmodules: they are repositories of their own, so they stay as they are and are named.
func TestSubmodules(t *testing.T) {
	fx := ship(t, files)
	inner := worktest.New(t)
	inner.Commit(t, map[string]string{"in/file": "1\n", "gone": "g\n"})
	for _, name := range []string{"sub/a", "b", "c", "d"} {
		fx.repo.Run(t, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", inner.Dir, name)
	}
	fx.repo.Run(t, "commit", "-q", "-m", "submodules")
	fx.send(t)
	fx.edit(t, "sub/a/in/file", "2\n")
	fx.remove(t, "b/gone", "d")
	fx.edit(t, "README", "changed\n")
	result := fx.imports(t)
	wantLines(t, "diff", fx.diff(t, result.Commit), "M\tREADME")
	if want := []string{"b", "d", "sub/a"}; !slices.Equal(result.Submodules, want) || len(result.Warnings) > 0 {
		t.Errorf("submodules %q, want %q; %v", result.Submodules, want, result.Warnings)
	}
}

// TestTheSameTick: a file that changes in the tick of the clock in which it was listed has the
// same times after that. It is compared by its content.
func TestTheSameTick(t *testing.T) {
	fx := ship(t, files)
	for n, e := range fx.shipped.Entries {
		if e.Path == "README" {
			fx.edit(t, "README", "READ\n") // the same size
			now, _ := fx.guest.List()
			i := slices.IndexFunc(now, func(e incoming.Entry) bool { return e.Path == "README" })
			fx.shipped.Entries[n] = now[i]
			fx.shipped.Began = now[i].CTime + int64(time.Millisecond)
		}
	}
	wantLines(t, "diff", fx.diff(t, fx.imports(t).Commit), "M\tREADME")
	fx.shipped.Began += int64(time.Second) // and this is how it would be missed
	r := fx.request()
	if result, err := incoming.Import(context.Background(), fx.repo, fx.guest, r); err != nil || result.Commit != fx.shipped.Commit {
		t.Errorf("%+v %v", result.Commit, err)
	}
}

// TestUnknownIsNotDeleted: what the guest cannot read or was told to skip stays as it was sent.
func TestUnknownIsNotDeleted(t *testing.T) {
	fx := ship(t, map[string]string{"a/x": "x\n", "a/b/y": "y\n", "c": "c\n", "d/z": "z\n", "dd": "d\n"})
	g := &script{entries: []incoming.Entry{
		{Path: "a", Type: "dir", Unread: "permission denied"}, {Path: "c", Type: "other", Unread: "input/output error"}, {Path: "d", Type: "dir", Skipped: true},
	}}
	result, err := incoming.Import(context.Background(), fx.repo, g, fx.request())
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, "diff", fx.diff(t, result.Commit), "D\tdd")
	if len(result.Warnings) != 2 {
		t.Errorf("warnings: %+v", result.Warnings)
	}
}

// slow is a repository in which git takes time without end for patterns.
type slow struct{ *worktest.Repo }

func (r slow) Git(ctx context.Context, env []string, stdin io.Reader, args ...string) ([]byte, error) {
	if slices.Contains(args, "check-ignore") {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	return r.Repo.Git(ctx, env, stdin, args...)
}

// TestPatternsWithoutEnd: such as *a*a*a*a*a*a*b.
func TestPatternsWithoutEnd(t *testing.T) {
	fx := ship(t, files)
	fx.edit(t, "new", "new\n")
	r := fx.request()
	r.Limits.Rules = 10 * time.Millisecond
	if _, err := incoming.Import(context.Background(), slow{fx.repo}, fx.guest, r); api.KindOf(err) != api.KindTimeout {
		t.Errorf("%v", err)
	}
	fx.unchanged(t)
}

// TestSnapshotsThatAreGone: of the last import it costs time, the shipped one is needed.
func TestSnapshotsThatAreGone(t *testing.T) {
	fx := ship(t, files)
	fx.edit(t, "README", "changed\n")
	r := fx.request()
	r.Last = &incoming.State{Commit: strings.Repeat("1", 40)}
	result, err := incoming.Import(context.Background(), fx.repo, fx.guest, r)
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, "diff", fx.diff(t, result.Commit), "M\tREADME")
	r.Shipped.Commit = strings.Repeat("1", 40)
	if _, err := incoming.Import(context.Background(), fx.repo, fx.guest, r); err == nil || !strings.Contains(api.AsError(err).Hint, "banger up") {
		t.Errorf("%v", err)
	}
}
