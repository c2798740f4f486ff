package branch_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/workspace/branch"
	"banger/internal/workspace/worktest"
)

var ctx = context.Background()

// sent is a repository with work of a guest upon the state that it was sent.
type sent struct {
	*worktest.Repo
	branch.Work
}

// send sends the work tree.
func send(t testing.TB, r *worktest.Repo) *sent {
	t.Helper()
	commit, err := r.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return &sent{r, branch.Work{VM: worktest.VM, Shipped: commit}}
}

// edit makes the guest's commit: the shipped snapshot with files as in worktest.Write; without
// content a file is removed.
func (s *sent) edit(t testing.TB, files map[string]string) {
	t.Helper()
	index := filepath.Join(t.TempDir(), "index")
	env := []string{
		"GIT_INDEX_FILE=" + index, "GIT_AUTHOR_NAME=banger guest of dev", "GIT_AUTHOR_EMAIL=guest@banger.invalid",
		"GIT_COMMITTER_NAME=banger", "GIT_COMMITTER_EMAIL=host@banger.invalid",
	}
	git := func(input string, args ...string) string {
		out, err := s.Git(ctx, env, strings.NewReader(input), args...)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	git("", "read-tree", s.Shipped)
	for name, content := range files {
		if content == "" {
			git("", "update-index", "--force-remove", name)
			continue
		}
		git("", "update-index", "--add", "--cacheinfo", "100644,"+git(content, "hash-object", "-w", "--stdin")+","+name)
	}
	s.Guest = git("", "commit-tree", git("", "write-tree"), "-p", s.Shipped, "-m", "guest")
	if err := s.Record(ctx, s.Guest); err != nil {
		t.Fatal(err)
	}
}

func start(t testing.TB) *worktest.Repo {
	r := worktest.New(t)
	r.Commit(t, map[string]string{"a": "1\n2\n3\n", "b": "b\n", ".gitignore": "*.o\nignored/\n"})
	return r
}

func (s *sent) log(t testing.TB, rev string) string {
	return s.Run(t, "log", "--format=%an: %s", rev)
}

func TestABranch(t *testing.T) {
	s := send(t, start(t))
	s.edit(t, map[string]string{"a": "1\n2\nthree\n", "b": ""})
	check, before := s.Untouched(t), worktest.Files(t, s.Dir, ".git")
	commit, err := branch.Create(ctx, s, s.Work, "work/of-guest")
	if err != nil {
		t.Fatal(err)
	}
	if s.Run(t, "rev-parse", "work/of-guest") != commit || s.Run(t, "rev-parse", commit+"^{tree}") != s.Run(t, "rev-parse", s.Guest+"^{tree}") {
		t.Error("the branch is not the guest's work")
	}
	if got, want := s.log(t, commit), "banger guest of dev: Work of VM dev\nA User: a commit"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	os.RemoveAll(filepath.Join(s.Dir, ".git/refs/heads/work")) // and nothing else was added
	os.RemoveAll(filepath.Join(s.Dir, ".git/logs/refs/heads/work"))
	check()
	if after := worktest.Files(t, s.Dir, ".git"); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Error("the work tree was changed")
	}
}

// TestTheUsersWorkIsACommit: what was not committed when it was sent.
func TestTheUsersWorkIsACommit(t *testing.T) {
	r := start(t)
	r.Write(t, "b", "dirty\n")
	s := send(t, r)
	s.edit(t, map[string]string{"a": "one\n"})
	commit, err := branch.Create(ctx, s, s.Work, "work")
	if err != nil {
		t.Fatal(err)
	}
	want := "banger guest of dev: Work of VM dev\nA User: Changes that were not committed when they were sent to VM dev\nA User: a commit"
	if got := s.log(t, "work"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := s.Run(t, "diff", "--name-only", "work^", "work"); got != "a" {
		t.Errorf("the guest's commit changes %s", got)
	}
	if again, err := branch.Create(ctx, s, s.Work, "again"); err != nil || again != commit {
		t.Errorf("another branch of the same is %s, not %s: %v", again, commit, err)
	}
}

// TestNoCommitYet: on an unborn branch, and without a name of the user's.
func TestNoCommitYet(t *testing.T) {
	r := worktest.New(t)
	r.Run(t, "config", "--unset", "user.name")
	r.Run(t, "config", "--unset", "user.email")
	r.Run(t, "config", "user.useConfigOnly", "true")
	r.Write(t, "a", "1\n")
	s := send(t, r)
	s.edit(t, map[string]string{"a": "2\n"})
	if _, err := branch.Create(ctx, s, s.Work, "work"); err != nil {
		t.Fatal(err)
	}
	want := "banger guest of dev: Work of VM dev\nbanger: Changes that were not committed when they were sent to VM dev"
	if got := s.log(t, "work"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if _, err := branch.Merge(ctx, s, s.Work); api.KindOf(err) != api.KindConflict || !strings.Contains(err.Error(), "no commit yet") {
		t.Error(err)
	}
}

func TestRefusedBranches(t *testing.T) {
	s := send(t, start(t))
	s.edit(t, map[string]string{"a": "2\n"})
	check := s.Untouched(t)
	for name, kind := range map[string]api.Kind{
		"main": api.KindExists, "": api.KindInvalid, "-d": api.KindInvalid, "a b": api.KindInvalid, "../x": api.KindInvalid, "a..b": api.KindInvalid,
		"HEAD": api.KindInvalid, "x.lock": api.KindInvalid, "main/x": api.KindInternal, "@{-1}": api.KindInvalid,
	} {
		if _, err := branch.Create(ctx, s, s.Work, name); api.KindOf(err) != kind {
			t.Errorf("%q: %v: %v", name, api.KindOf(err), err)
		}
	}
	nothing := s.Work
	nothing.Guest = nothing.Shipped
	if _, err := branch.Create(ctx, s, nothing, "work"); api.KindOf(err) != api.KindConflict {
		t.Error(err)
	}
	if _, err := branch.Merge(ctx, s, nothing); api.KindOf(err) != api.KindConflict {
		t.Error(err)
	}
	check()
}

func TestMerge(t *testing.T) {
	r := start(t)
	r.Write(t, "b", "dirty\n")
	s := send(t, r)
	s.edit(t, map[string]string{"a": "1\n2\nthree\n", "new": "n\n"})
	r.Commit(t, map[string]string{"b": "dirty\n", "c": "c\n"}) // what was sent, and then some
	marker := filepath.Join(t.TempDir(), "marker")
	for _, hook := range []string{"pre-merge-commit", "commit-msg", "post-merge", "post-checkout", "reference-transaction", "prepare-commit-msg"} {
		worktest.Write(t, s.Dir, ".git/hooks/"+hook, "#!/bin/sh\ntouch "+marker+"\n")
	}
	merged, err := branch.Merge(ctx, s, s.Work)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("a hook ran")
	}
	if merged.Branch != "main" || merged.Commit != s.Run(t, "rev-parse", "main") || s.Run(t, "status", "--porcelain") != "" {
		t.Errorf("%+v", merged)
	}
	files := worktest.Files(t, s.Dir, ".git")
	if files["a"] != "1\n2\nthree\n" || files["b"] != "dirty\n" || files["c"] != "c\n" || files["new"] != "n\n" {
		t.Errorf("%q", files)
	}
	s.Run(t, "fsck", "--strict", "--no-dangling")
}

// TestRefusedMerges: nothing changes, and the hint says what to type.
func TestRefusedMerges(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(t *testing.T, s *sent)
		text    string
	}{
		"changed":       {func(t *testing.T, s *sent) { s.Write(t, "b", "x\n") }, "not committed"},
		"staged":        {func(t *testing.T, s *sent) { s.Write(t, "b", "x\n"); s.Run(t, "add", "b") }, "not committed"},
		"untracked":     {func(t *testing.T, s *sent) { s.Write(t, "u", "x\n") }, "not committed"},
		"detached":      {func(t *testing.T, s *sent) { s.Run(t, "checkout", "-q", "--detach") }, "no branch"},
		"ignored":       {func(t *testing.T, s *sent) { s.Write(t, "x.o", "mine\n") }, `"x.o"`},
		"ignored above": {func(t *testing.T, s *sent) { s.Write(t, "dir.o", "mine\n") }, `"dir.o"`},
		"ignored below": {func(t *testing.T, s *sent) { s.Write(t, "ignored/deep/y", "mine\n") }, `"ignored/deep/y"`},
		"conflict":      {func(t *testing.T, s *sent) { s.Commit(t, map[string]string{"a": "1\n2\ndrei\n"}) }, `same lines, and nothing was merged: "a"`},
		"lock":          {func(t *testing.T, s *sent) { s.Write(t, ".git/index.lock", "") }, "Another git process"},
		"rebase": {func(t *testing.T, s *sent) {
			s.Run(t, "-c", "sequence.editor=sed -i '1ibreak'", "rebase", "-q", "-i", "--root")
		}, "rebase is not finished"},
		"git fails": {func(t *testing.T, s *sent) { s.Fail = failMerge }, "no merge today"},
	} {
		t.Run(name, func(t *testing.T) {
			s := send(t, start(t))
			s.edit(t, map[string]string{"a": "1\n2\nthree\n", "x.o": "guest's\n", "dir.o/file": "guest's\n", "ignored": "a file\n"})
			c.prepare(t, s)
			check, before := s.Untouched(t), worktest.Files(t, s.Dir, ".git")
			_, err := branch.Merge(ctx, s, s.Work)
			if err == nil || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v, want …%s…", err, c.text)
			}
			if kind := api.KindOf(err); kind == api.KindConflict && api.AsError(err).Hint == "" {
				t.Error("no hint")
			}
			if name != "conflict" && name != "lock" { // where git came as far as ORIG_HEAD
				check()
			} else if name == "conflict" && s.Run(t, "status", "--porcelain") != "" {
				t.Error("the work tree is not clean any more")
			}
			if after := worktest.Files(t, s.Dir, ".git"); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Error("the work tree was changed")
			}
		})
	}
}

func failMerge(args []string) error {
	if slices.Contains(args, "merge") {
		return errors.New("no merge today")
	}
	return nil
}
