package remote

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/workspace/gitrepo"
)

// TestMake: the default branch, a branch, a tag, a reference and a commit, with as much history as
// was asked for.
func TestMake(t *testing.T) {
	for _, format := range []string{"sha1", "sha256"} {
		dir := newRepo(t, "--object-format="+format)
		for _, c := range []struct {
			ref     string
			commits int
			log     string
			head    string // of the clone
		}{
			{"", 0, "three two one", "refs/heads/trunk"},
			{"", 2, "three two", "refs/heads/trunk"},
			{"topic", 1, "topic", "refs/heads/topic"},
			{"refs/heads/topic", 0, "topic two one", "refs/heads/topic"},
			{"v1", 1, "two", ""},
			{git(t, dir, "rev-parse", "trunk~2"), 1, "one", ""},
			{"refs/pull/7/head", 2, "topic two", ""},
		} {
			if format == "sha256" && strings.HasPrefix(c.ref, "refs/pull") {
				continue // of a reference alone git does not say in which format it is
			}
			for _, url := range []string{dir, "file://" + dir} {
				text := url
				if c.ref != "" {
					text += "#" + c.ref
				}
				m := makeClone(t, text, c.commits)
				if got := m.log(); got != c.log {
					t.Errorf("%s %s has %q, want %q", format, c.ref, got, c.log)
				}
				head, _ := os.ReadFile(filepath.Join(m.tree, ".git/HEAD"))
				if c.head != "" && string(head) != "ref: "+c.head+"\n" || c.head == "" && strings.HasPrefix(string(head), "ref") {
					t.Errorf("%s %s: HEAD is %s", format, c.ref, head)
				}
				if got := git(t, m.tree, "status", "--porcelain"); got != "" {
					t.Errorf("%s %s: not checked out: %s", format, c.ref, got)
				}
			}
		}
	}
}

// TestProgress: a clone and a fetch say how much they have of how much.
func TestProgress(t *testing.T) {
	dir := newRepo(t)
	var last api.Progress
	whole := func(what string) {
		t.Helper()
		if last.Message != "receiving objects" && last.Message != "resolving deltas" || last.Total == 0 || last.Done != last.Total {
			t.Errorf("the last of a %s is %+v", what, last)
		}
		last = api.Progress{}
	}
	for _, ref := range []string{"", "#" + git(t, dir, "rev-parse", "trunk~2")} {
		r := parsed(t, "file://"+dir+ref)
		r.Report = func(p api.Progress) { last = p }
		must(t, Make(t.Context(), r, filepath.Join(t.TempDir(), "w", "clone"), 0))
		whole("clone of " + ref)
	}
	m := makeClone(t, "file://"+dir, 1)
	must(t, os.WriteFile(filepath.Join(dir, "more"), []byte("more\n"), 0o600))
	git(t, dir, "add", "more")
	git(t, dir, "commit", "-q", "-m", "more")
	m.r.Report = func(p api.Progress) { last = p }
	_, err := m.renew(gitrepo.GitOptions{})
	must(t, err)
	whole("fetch")
}

// TestMakeRefuses says what git said, and what to type.
func TestMakeRefuses(t *testing.T) {
	dir := newRepo(t)
	empty := filepath.Join(t.TempDir(), "empty")
	git(t, "/", "init", "-q", "--bare", empty)
	astray := newRepo(t)
	git(t, astray, "symbolic-ref", "HEAD", "refs/heads/nothing")
	url := serve(t, filepath.Dir(dir), func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/private") {
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		return false
	})
	for _, c := range []struct{ text, want, hint string }{
		{empty, "it has no commit on its default branch", "git ls-remote file://" + empty},
		{astray, "it has no commit on its default branch", "#BRANCH"},
		{dir + "#nobody", "nobody", "git ls-remote"},
		{dir + "#refs/heads/nobody", "nobody", "git ls-remote"},
		{dir + "#abcdef1", "abcdef1", "its whole id"},
		{dir + "#" + strings.Repeat("0", 39) + "1", "failed", "git ls-remote"},
		{filepath.Dir(dir), "git clone failed", "git ls-remote"},
		{url + "/nothing", "not found", "git ls-remote " + url + "/nothing"},
		{url + "/private", "git clone failed", "git ls-remote"},
		{"http://127.0.0.1:1/x", "git clone failed", "git ls-remote"},
		{"https://host.invalid/x", "host.invalid", "git ls-remote"},
	} {
		clone := filepath.Join(t.TempDir(), "w", "clone")
		r := parsed(t, c.text)
		err := Make(t.Context(), r, clone, 1)
		checkError(t, err, api.KindInvalid, c.want, c.hint)
		checkNothing(t, clone)
		r.Report = func(api.Progress) {}
		loud := Make(t.Context(), r, clone, 1)
		checkError(t, loud, api.KindInvalid, c.want, c.hint)
		if len(loud.Error()) != len(err.Error()) { // two programs of git may say theirs in either order
			t.Errorf("with progress it is %v, and %v without", loud, err)
		}
	}
}

// checkNothing wants nothing to be left of a clone that failed.
func checkNothing(t testing.TB, clone string) {
	t.Helper()
	if left, _ := os.ReadDir(filepath.Dir(clone)); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}

// TestMakeCanceled leaves nothing; git itself has ended.
func TestMakeCanceled(t *testing.T) {
	asked := make(chan struct{}, 1)
	url := serve(t, t.TempDir(), func(_ http.ResponseWriter, r *http.Request) bool {
		asked <- struct{}{}
		<-r.Context().Done()
		return true
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	clone := filepath.Join(t.TempDir(), "w", "clone")
	checkError(t, Make(ctx, parsed(t, url+"/x"), clone, 0), api.KindCanceled, "", "")
	checkNothing(t, clone)
}

// noEffect are settings with which a hostile repository, or a user's own habit, would have an effect
// at a clone.
const noEffect = `[init]
	templateDir = %[1]s/template
[submodule]
	recurse = true
[core]
	hooksPath = %[1]s/hooks
	fsmonitor = touch %[1]s/ran
[clone]
	defaultRemoteName = elsewhere
[fetch]
	fsckObjects = false
[protocol "ext"]
	allow = always
[url "ext::touch %[1]s/ran "]
	insteadOf = https://mapped.invalid/
[filter "mine"]
	smudge = sed s/one/filtered/
`

// TestMakeIsSafe: no hook, no template, no submodule, no program of a URL; the user's own filters work
// as in any clone.
func TestMakeIsSafe(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", home)
	hook := "#!/bin/sh\ntouch " + home + "/ran\n"
	for _, name := range []string{"template/hooks/post-checkout", "hooks/post-checkout", "hooks/reference-transaction"} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(home, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(home, name), []byte(hook), 0o755))
	}
	dir := newRepo(t)
	must(t, os.WriteFile(filepath.Join(home, ".gitconfig"), fmt.Appendf(nil, noEffect, home), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, ".gitattributes"), []byte("one filter=mine\n* filter=theirs\none filter=mine\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, ".gitmodules"), []byte("[submodule \"s\"]\n\tpath = s\n\turl = ext::touch "+home+"/ran\n"), 0o644))
	must(t, os.Symlink("/etc/passwd", filepath.Join(dir, "banger.toml")))
	must(t, os.WriteFile(filepath.Join(dir, "CASE"), []byte("1\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "case"), []byte("2\n"), 0o644))
	git(t, dir, "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "add", "-A")
	git(t, dir, "-c", "core.hooksPath=/dev/null", "update-index", "--add", "--cacheinfo", "160000,"+git(t, dir, "rev-parse", "HEAD")+",s")
	git(t, dir, "-c", "core.hooksPath=/dev/null", "commit", "-q", "-m", "hostile")
	os.Remove(filepath.Join(home, "ran"))
	m := makeClone(t, dir, 1)
	checkError(t, Make(t.Context(), parsed(t, "https://mapped.invalid/x"), filepath.Join(t.TempDir(), "clone"), 1), api.KindInvalid, "ext", "")
	if _, err := os.Lstat(filepath.Join(home, "ran")); err == nil {
		t.Error("a program ran")
	}
	if _, err := os.Lstat(filepath.Join(m.tree, ".git/hooks")); err == nil {
		t.Error("it has hooks")
	}
	if left, err := os.ReadDir(filepath.Join(m.tree, "s")); err != nil || len(left) > 0 {
		t.Errorf("the submodule has %v (%v)", left, err)
	}
	if one, err := os.ReadFile(filepath.Join(m.tree, "one")); string(one) != "filtered\n" {
		t.Errorf("the user's filter made %q (%v)", one, err)
	}
	for name, want := range map[string]string{"CASE": "1\n", "case": "2\n"} {
		if got, _ := os.ReadFile(filepath.Join(m.tree, name)); string(got) != want {
			t.Errorf("%s is %q", name, got)
		}
	}
	if got := git(t, m.tree, "-c", "core.fsmonitor=false", "remote"); got != "origin" {
		t.Errorf("the remote is called %s", got)
	}
}

// TestMakeChecksObjects: git refuses names that a work tree must not have.
func TestMakeChecksObjects(t *testing.T) {
	for _, name := range []string{".git", ".GIT", "git~1", ".g\u200cit", "..", "."} {
		dir := newRepo(t)
		blob := git(t, dir, "hash-object", "-w", "one")
		inner := mktree(t, dir, "100644 blob "+blob+"\tconfig\x00")
		tree := mktree(t, dir, "040000 tree "+inner+"\t"+name+"\x00")
		git(t, dir, "update-ref", "refs/heads/trunk", git(t, dir, "commit-tree", "-m", "hostile", tree))
		clone := filepath.Join(t.TempDir(), "w", "clone")
		checkError(t, Make(t.Context(), parsed(t, dir), clone, 1), api.KindInvalid, "fsck", "git ls-remote")
		checkNothing(t, clone)
	}
}

func mktree(t *testing.T, dir, entry string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "entry")
	must(t, os.WriteFile(file, []byte(entry), 0o644))
	return strings.TrimSpace(shell(t, dir, "git mktree -z < '"+file+"'"))
}
