package incoming_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"banger/api"
	"banger/internal/workspace/incoming"
	"banger/internal/workspace/worktest"
)

// script is a guest that says whatever a test likes.
type script struct {
	entries []incoming.Entry
	fetch   func(names []string, each func(string, io.Reader) error) error
}

func (s *script) Tree(_ context.Context, each func(incoming.Entry) error) error {
	for _, e := range s.entries {
		if err := each(e); err != nil {
			return err
		}
	}
	return nil
}

func (s *script) Fetch(_ context.Context, names []string, each func(string, io.Reader) error) error {
	if s.fetch != nil {
		return s.fetch(names, each)
	}
	for _, name := range names {
		if err := each(name, strings.NewReader("content of "+name)); err != nil {
			return err
		}
	}
	return nil
}

func file(name string) incoming.Entry {
	return incoming.Entry{Path: name, Type: incoming.TypeFile, Mode: 0o644, Size: 1}
}

func link(name, target string) incoming.Entry {
	return incoming.Entry{Path: name, Type: incoming.TypeLink, Link: target}
}

// endless is a file that never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestRefusedListings: a guest that breaks the protocol changes nothing at all.
func TestRefusedListings(t *testing.T) {
	negative := file("a")
	negative.Size = -1
	huge := file("a")
	huge.Size = math.MaxInt64
	var many []incoming.Entry
	for n := range 1001 {
		many = append(many, file(fmt.Sprint(n)))
	}
	everything := func(content func(name string) io.Reader) func([]string, func(string, io.Reader) error) error {
		return func(names []string, each func(string, io.Reader) error) error {
			for _, name := range names {
				if err := each(name, content(name)); err != nil {
					return err
				}
			}
			return nil
		}
	}
	for name, c := range map[string]struct {
		guest script
		kind  api.Kind
		text  string
	}{
		"dots":             {script{entries: []incoming.Entry{file("a/../../b")}}, api.KindDenied, `"a/../../b"`},
		"absolute":         {script{entries: []incoming.Entry{file("/etc/passwd")}}, api.KindDenied, "/etc/passwd"},
		"null byte":        {script{entries: []incoming.Entry{file("a\x00b")}}, api.KindDenied, `a\x00b`},
		"empty":            {script{entries: []incoming.Entry{file("")}}, api.KindDenied, `""`},
		"twice":            {script{entries: []incoming.Entry{file("a"), file("b"), link("a", "b")}}, api.KindDenied, "listed twice"},
		"file and dir":     {script{entries: []incoming.Entry{file("a"), file("a-b"), file("a/b")}}, api.KindDenied, "both a file and a directory"},
		"link and dir":     {script{entries: []incoming.Entry{link("a/b", "/etc"), file("a/b/passwd")}}, api.KindDenied, "both a file and a directory"},
		"negative size":    {script{entries: []incoming.Entry{negative}}, api.KindDenied, "negative"},
		"size overflows":   {script{entries: []incoming.Entry{file("b"), huge}}, api.KindInvalid, `"a" has more than`},
		"link to nothing":  {script{entries: []incoming.Entry{link("a", "")}}, api.KindDenied, "target"},
		"target with null": {script{entries: []incoming.Entry{link("a", "b\x00")}}, api.KindDenied, "target"},
		"long target":      {script{entries: []incoming.Entry{link("a", strings.Repeat("x", 4097))}}, api.KindDenied, "target"},
		"too many":         {script{entries: many}, api.KindInvalid, "more than 1000"},
		"endless": {script{entries: []incoming.Entry{file("big")}, fetch: everything(func(string) io.Reader { return endless{} })},
			api.KindInvalid, `"big" has more than 1048576 bytes`},
		"all too large": {script{entries: []incoming.Entry{file("a"), file("b"), file("c")}, fetch: everything(func(string) io.Reader {
			return io.LimitReader(endless{}, 1<<20)
		})}, api.KindInvalid, `there are more than 2097152 bytes`},
		"not asked for": {script{entries: []incoming.Entry{file("a")}, fetch: func(_ []string, each func(string, io.Reader) error) error {
			return each("../../x", strings.NewReader("x"))
		}}, api.KindDenied, "../../x"},
		"sent twice": {script{entries: []incoming.Entry{file("a")}, fetch: func(_ []string, each func(string, io.Reader) error) error {
			return errors.Join(each("a", strings.NewReader("x")), each("a", strings.NewReader("y")))
		}}, api.KindDenied, "twice"},
		"bad .gitmodules": {script{entries: []incoming.Entry{file("a"), file(".gitmodules")}, fetch: everything(func(string) io.Reader {
			return strings.NewReader("[submodule \"a\"]\n\tpath = a\n\turl = --upload-pack=touch\n")
		})}, api.KindInternal, "gitmodulesUrl"},
	} {
		t.Run(name, func(t *testing.T) {
			fx := ship(t, map[string]string{"README": "x\n"})
			check, objects := fx.repo.Untouched(t), fx.repo.Run(t, "count-objects", "-v")
			r := fx.request()
			r.Limits = incoming.Limits{Entries: 1000, File: 1 << 20, Total: 2 << 20}
			_, err := incoming.Import(context.Background(), fx.repo, &c.guest, r)
			if api.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v: %v, want %v: …%s…", api.KindOf(err), err, c.kind, c.text)
			}
			check()
			fx.noQuarantine(t)
			if got := fx.repo.Run(t, "count-objects", "-v"); got != objects {
				t.Errorf("objects were added:\n%s\nbefore:\n%s", got, objects)
			}
			if got := fx.repo.Run(t, "for-each-ref", "--format=%(refname)", "refs/banger"); got != "refs/banger/dev/1" {
				t.Errorf("refs: %s", got)
			}
		})
	}
}

// TestWhatGitCannotHaveIsLeftOut: with a warning, and the rest is imported.
func TestWhatGitCannotHaveIsLeftOut(t *testing.T) {
	fx := ship(t, map[string]string{"README": "x\n", "was": "a file\n"})
	g := &script{entries: []incoming.Entry{
		file("README"), file("good"), link("out", "../../../etc/passwd"),
		file(".git/hooks/post-checkout"), file(".git/config"), file(".git/objects/info/alternates"), file(".GIT/config"), file("git~1/config"), {Path: "sub/.git", Type: "dir"}, file("sub/.git/config"), file("sub/file"),
		file(".git\u200d/x"), file(".git::$INDEX_ALLOCATION/x"), link(".gitmodules", "/etc/passwd"),
		{Path: "was", Type: "other"}, {Path: "device", Type: "other"}, file(strings.Repeat("x/", 2000) + "x"),
		file("Case"), file("case"),
	}}
	for n := range 200 {
		g.entries = append(g.entries, file(fmt.Sprintf("git~1 %*s/x", n, ".")))
	}
	result, err := incoming.Import(context.Background(), fx.repo, g, fx.request())
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, "diff", fx.diff(t, result.Commit), "M\tREADME", "A\tgood", "A\tout", "A\tsub/file", "D\twas", "A\tCase", "A\tcase")
	var warned []string
	for _, w := range result.Warnings {
		warned = append(warned, w.Path)
	}
	for _, name := range []string{".GIT/config", "git~1/config", "sub", ".gitmodules", "was", "device"} {
		if !slices.Contains(warned, name) {
			t.Errorf("no warning of %q", name)
		}
	}
	if n := len(result.Warnings); n > 101 {
		t.Errorf("%d warnings", n)
	}
}

// TestCaseIsReported: two names that differ in case alone are imported, and named.
func TestCaseIsReported(t *testing.T) {
	fx := ship(t, files)
	fx.edit(t, "readme", "another\n")
	result := fx.imports(t)
	wantLines(t, "diff", fx.diff(t, result.Commit), "A\treadme")
	if len(result.Warnings) != 1 || result.Warnings[0].Path != "readme" || !strings.Contains(result.Warnings[0].Text, "README") {
		t.Errorf("warnings: %+v", result.Warnings)
	}
}

// TestSpecialFiles: what a real file system has besides files.
func TestSpecialFiles(t *testing.T) {
	fx := ship(t, files)
	if err := syscall.Mkfifo(filepath.Join(fx.guest.Dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	fx.edit(t, "README", "changed\n")
	result := fx.imports(t)
	wantLines(t, "diff", fx.diff(t, result.Commit), "M\tREADME")
	if len(result.Warnings) != 1 || result.Warnings[0].Path != "fifo" {
		t.Errorf("warnings: %+v", result.Warnings)
	}
}

// TestAFileThatGoes: it is listed, and removed before it is fetched.
func TestAFileThatGoes(t *testing.T) {
	fx := ship(t, map[string]string{"README": "x\n", "old": "o\n"})
	g := &script{entries: []incoming.Entry{file("README"), file("old"), file("new")}, fetch: func(_ []string, each func(string, io.Reader) error) error {
		return each("README", strings.NewReader("y\n"))
	}}
	result, err := incoming.Import(context.Background(), fx.repo, g, fx.request())
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, "diff", fx.diff(t, result.Commit), "M\tREADME", "D\told")
	if len(result.Warnings) != 2 {
		t.Errorf("warnings: %+v", result.Warnings)
	}
}

// FuzzListing: whatever a guest lists, an import is refused or makes a commit that git accepts,
// and the user's files stay as they are.
func FuzzListing(f *testing.F) {
	f.Add("f README\nf a/b\nl a/c /etc\n")
	f.Add("f .git/config\nf a\nf a/b\nd c\n")
	f.Add("f .gitignore\nf x.o\nf .gitattributes\nl .gitmodules x\no dev\n")
	fx := ship(f, map[string]string{"README": "x\n", "src/a": "a\n", ".gitignore": "*.o\n"})
	f.Fuzz(func(t *testing.T, listing string) {
		g := &script{}
		for line := range strings.SplitSeq(listing, "\n") {
			kind, rest, _ := strings.Cut(line, " ")
			name, target, _ := strings.Cut(rest, " ")
			e := incoming.Entry{Path: name, Link: target, Type: map[string]string{"f": "file", "l": "link", "d": "dir"}[kind], Mode: uint32(len(target))}
			g.entries = append(g.entries, e)
		}
		before := worktest.Files(t, fx.repo.Dir, ".git")
		check := fx.repo.Untouched(t)
		result, err := incoming.Import(context.Background(), fx.repo, g, fx.request())
		if err == nil {
			fx.repo.Run(t, "fsck", "--strict", "--no-dangling")
			fx.diff(t, result.Commit)
		}
		check()
		fx.noQuarantine(t)
		if after := worktest.Files(t, fx.repo.Dir, ".git"); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("the work tree was changed")
		}
	})
}

// TestAbandonedQuarantines: what a killed import left is removed a day later.
func TestAbandonedQuarantines(t *testing.T) {
	fx := ship(t, files)
	objects := filepath.Join(fx.repo.Dir, ".git/objects")
	old, young, other := filepath.Join(objects, "tmp_objdir-banger-1"), filepath.Join(objects, "tmp_objdir-banger-2"), filepath.Join(objects, "tmp_objdir-incoming-3")
	for _, dir := range []string{old, young, other} {
		if err := os.MkdirAll(filepath.Join(dir, "objects"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{old, other} {
		if err := os.Chtimes(dir, longAgo, longAgo); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := incoming.Import(context.Background(), fx.repo, fx.guest, fx.request()); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]bool{old: false, young: true, other: true} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s: %v", filepath.Base(dir), err)
		}
	}
}
