package review_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/internal/workspace/review"
	"banger/internal/workspace/worktest"
)

var ctx = context.Background()

// changed is a repository with two snapshots.
func changed(t testing.TB) *worktest.Repo {
	r := worktest.New(t)
	r.Commit(t, map[string]string{"a": "1\n2\n3\n4\n5\n", "gone": "g\n", "old name": "one\ntwo\nthree\nfour\n", "package.json": `{"scripts":{}}`, "type": "t\n", "Makefile": "x:\n"})
	snapshot(t, r)
	r.Write(t, "a", "1\n2\n3\n4\nfive\n")
	r.Write(t, "new\nname", "#!/bin/sh\n")
	r.Write(t, "package.json", `{"scripts":{"postinstall":"x"}}`)
	r.Write(t, "type", "-> ../../outside")
	r.Write(t, "makefile", "y:\n")
	for _, name := range []string{"gone", "old name"} {
		if err := os.Remove(filepath.Join(r.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	r.Write(t, "new name", "one\ntwo\nthree\nfour\n")
	r.Write(t, "bidi.c", "/* \u202e */\n")
	snapshot(t, r)
	return r
}

func snapshot(t testing.TB, r *worktest.Repo) {
	t.Helper()
	if _, err := r.Snapshot(ctx); err != nil {
		t.Fatal(err)
	}
}

const (
	from = "refs/banger/dev/1"
	to   = "refs/banger/dev/2"
)

func TestChanges(t *testing.T) {
	r := changed(t)
	changes, err := review.Changes(ctx, r, from, to)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range changes {
		got = append(got, review.Status(c)+" "+c.Path)
	}
	want := []string{"M a", "A bidi.c", "D gone", "A makefile", "A new\nname", "A new name", "D old name", "M package.json", "T type"}
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestMarks(t *testing.T) {
	r := changed(t)
	all, err := review.Marks(ctx, r, from, to)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, m := range all {
		fmt.Fprintf(&got, "%q: %s\n", m.Path, m.Reason)
	}
	want := `"bidi.c": its text has control characters that change the order in which it is shown
"makefile": make runs it
"makefile": its name differs from that of Makefile only in case
"new\nname": it can be executed now
"package.json": npm runs its scripts, some at each npm install
"type": the symbolic link leads out of the tree
`
	if got.String() != want {
		t.Errorf("got\n%swant\n%s", &got, want)
	}
}

// TestNothingRuns: what a configuration or attributes name for differences does not run.
func TestNothingRuns(t *testing.T) {
	r := changed(t)
	marker := filepath.Join(t.TempDir(), "marker")
	program := filepath.Join(t.TempDir(), "program")
	worktest.Write(t, filepath.Dir(program), filepath.Base(program), "#!/bin/sh\ntouch "+marker+"\n")
	worktest.Write(t, r.Dir, ".gitattributes", "* diff=evil\n")
	worktest.Write(t, r.Dir, ".git/info/attributes", "* diff=evil\n")
	r.Run(t, "config", "diff.evil.textconv", program)
	r.Run(t, "config", "diff.evil.command", program)
	r.Run(t, "config", "diff.external", program)
	r.Run(t, "config", "core.pager", program)
	t.Setenv("GIT_EXTERNAL_DIFF", program)
	check := r.Untouched(t)
	show(t, r)
	check()
	if _, err := os.Stat(marker); err == nil {
		t.Error("a program ran")
	}
	r.Run(t, "diff", from, to) // which does run it: the test can fail
	if _, err := os.Stat(marker); err != nil {
		t.Error(err)
	}
}

// show calls everything that shows something.
func show(t *testing.T, r *worktest.Repo) (stat, patch, binary string) {
	t.Helper()
	s, err := review.Stat(ctx, r, from, to, 0)
	if err != nil {
		t.Fatal(err)
	}
	p, err := review.Patch(ctx, r, from, to)
	if err != nil {
		t.Fatal(err)
	}
	b, err := review.BinaryPatch(ctx, r, from, to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := review.Marks(ctx, r, from, to); err != nil {
		t.Fatal(err)
	}
	return string(s), string(p), string(b)
}

func TestStatAndPatch(t *testing.T) {
	r := changed(t)
	stat, patch, binary := show(t, r)
	if !strings.Contains(stat, "9 files changed") && !strings.Contains(stat, "8 files changed") || !strings.Contains(stat, "rename old name => new name (100%)") {
		t.Errorf("stat:\n%s", stat)
	}
	if !strings.Contains(patch, "-5\n+five\n") || !strings.Contains(patch, "rename from old name") {
		t.Errorf("patch:\n%s", patch)
	}
	other := worktest.New(t)
	other.Run(t, "fetch", "-q", r.Dir, from+":refs/heads/from", to+":refs/heads/to")
	other.Run(t, "checkout", "-q", "from")
	worktest.Write(t, os.Getenv("HOME"), "patch", binary)
	other.Run(t, "apply", "--index", filepath.Join(os.Getenv("HOME"), "patch"))
	if got, want := other.Run(t, "write-tree"), other.Run(t, "rev-parse", "to^{tree}"); got != want {
		t.Errorf("the patch makes the tree %s, not %s", got, want)
	}
	one, err := review.Patch(ctx, r, from, to, "new\nname", ":(glob)*")
	if err != nil || strings.Count(string(one), "diff --git") != 1 {
		t.Errorf("%v:\n%s", err, one)
	}
}

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"plain größe\t€\n": "plain größe\t€\n",
		"\x1b]0;x\x07":     "^[]0;x^G",
		"a\r\n":            "a^M\n",
		"\u202e\u009b\xff": `<U+202E><U+9B>\xff`,
		"\x7f\x00":         "^?^@",
	} {
		if got := string(review.Printable([]byte(text))); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestLog(t *testing.T) {
	r := changed(t)
	for n := range 9 {
		r.Write(t, "a", fmt.Sprint(n))
		snapshot(t, r)
	}
	r.Run(t, "update-ref", "refs/banger/dev/note", "HEAD")
	r.Run(t, "update-ref", "refs/banger/other/1", "HEAD")
	log, err := review.Log(ctx, r, worktest.VM)
	if err != nil {
		t.Fatal(err)
	}
	head := r.Run(t, "rev-parse", "HEAD")
	for i, s := range log {
		if s.N != i+1 || s.Subject != "before" || s.Author != "banger" || s.Guest || len(s.Parents) != 1 || s.Parents[0] != head || s.Time.IsZero() {
			t.Errorf("%d: %+v", i, s)
		}
	}
	if len(log) != 11 {
		t.Errorf("%d snapshots", len(log))
	}
}

// BenchmarkDiff: 50 changes in 10,000 files, all that banger work diff shows.
func BenchmarkDiff(b *testing.B) {
	r := worktest.New(b)
	all := map[string]string{}
	for n := range 10_000 {
		all[fmt.Sprintf("dir%02d/sub%d/file%d", n%97, n%7, n)] = fmt.Sprintf("content %d\n", n)
	}
	r.Commit(b, all)
	snapshot(b, r)
	for n := range 40 {
		r.Write(b, fmt.Sprintf("dir%02d/sub%d/file%d", n%97, n%7, n), "changed\n")
		r.Write(b, fmt.Sprintf("new/%d", n%10), "new\n")
	}
	snapshot(b, r)
	for b.Loop() {
		if _, err := review.Marks(ctx, r, from, to); err != nil {
			b.Fatal(err)
		}
		if _, err := review.Patch(ctx, r, from, to); err != nil {
			b.Fatal(err)
		}
	}
}
