package gitrepo

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"banger/api"
)

func build(t testing.TB, r *Repo, o GitOptions) string {
	t.Helper()
	dir := t.TempDir()
	must(t, r.BuildGit(t.Context(), dir, o))
	return dir
}

// TestHistory: as many commits as are asked for.
func TestHistory(t *testing.T) {
	dir := newRepo(t)
	for i := range 60 {
		git(t, dir, "commit", "-q", "--allow-empty", "-m", fmt.Sprint(i))
	}
	shallow := filepath.Join(t.TempDir(), "shallow")
	git(t, dir, "clone", "-q", "--depth=5", "file://"+dir, shallow)
	r, s := open(t, dir), open(t, shallow)
	for _, c := range []struct {
		from *Repo
		o    GitOptions
		want string
	}{
		{r, GitOptions{}, "50"}, {r, GitOptions{Depth: 3}, "3"}, {r, GitOptions{Depth: 1000}, "62"},
		{r, GitOptions{History: "full"}, "62"}, {r, GitOptions{History: "none"}, "1"},
		{s, GitOptions{}, "5"}, {s, GitOptions{Depth: 2}, "2"}, {s, GitOptions{History: "full"}, "5"}, {s, GitOptions{History: "none", Depth: 9}, "1"},
	} {
		guest := build(t, c.from, c.o)
		if got := git(t, guest, "rev-list", "--count", "HEAD"); got != c.want {
			t.Errorf("%+v of %s: %s commits, want %s", c.o, c.from.Top(), got, c.want)
		}
		git(t, guest, "fsck", "--strict")
	}
	for _, o := range []GitOptions{{Depth: -1}, {History: "some"}} {
		checkError(t, r.BuildGit(t.Context(), t.TempDir(), o), api.KindInvalid, "not a valid", "")
	}
	checkError(t, r.BuildGit(t.Context(), dir, GitOptions{}), api.KindExists, "has a .git already", "")
}

// TestBranch: a new branch at HEAD, in the guest alone.
func TestBranch(t *testing.T) {
	dir := newRepo(t)
	r := open(t, dir)
	guest := build(t, r, GitOptions{Branch: "agent/work"})
	if got := git(t, guest, "for-each-ref", "--format=%(refname) %(objectname)"); got != "refs/heads/agent/work "+git(t, dir, "rev-parse", "HEAD") {
		t.Errorf("the guest has %q", got)
	}
	if got := git(t, guest, "symbolic-ref", "HEAD"); got != "refs/heads/agent/work" {
		t.Errorf("HEAD is %q", got)
	}
	git(t, dir, "checkout", "-q", "--detach")
	if got := git(t, build(t, r, GitOptions{Branch: "x"}), "symbolic-ref", "HEAD"); got != "refs/heads/x" {
		t.Errorf("HEAD is %q", got)
	}
	unborn := t.TempDir()
	git(t, unborn, "init", "-q")
	if got := git(t, build(t, open(t, unborn), GitOptions{Branch: "y"}), "symbolic-ref", "HEAD"); got != "refs/heads/y" {
		t.Errorf("HEAD is %q", got)
	}
	for _, bad := range []string{"-x", "a..b", "a b", "@{-1}", "x.lock", "/x", "x\n"} {
		checkError(t, r.BuildGit(t.Context(), t.TempDir(), GitOptions{Branch: bad}), api.KindInvalid, "not a valid name of a branch", "")
	}
}

// TestRemotes: their URLs come without what is secret in them, and none that leads to this host.
func TestRemotes(t *testing.T) {
	dir := newRepo(t)
	for name, url := range map[string]string{
		"origin":   "https://user:SECRET@example.org/x.git",
		"token":    "https://SECRET@example.org:8443/x",
		"query":    "https://example.org/x?private_token=SECRET",
		"ssh":      "ssh://git:SECRET@example.org:22/x",
		"scp":      "git@example.org:team/x.git",
		"path":     dir,
		"relative": "../x",
		"file":     "file://" + dir,
		"helper":   "ext::sh -c SECRET",
		"odd":      "user:SECRET@example.org:x",
		"plain":    "git://example.org/x",
	} {
		git(t, dir, "config", "remote."+name+".url", url)
	}
	git(t, dir, "config", "--add", "remote.origin.url", "https://second.example.org/x")
	git(t, dir, "config", "remote.origin.pushurl", "https://SECRET:x@push.example.org/x")
	git(t, dir, "config", "url.https://SECRET@example.org/.insteadOf", "git://example.org/")
	git(t, dir, "config", "http.extraHeader", "Authorization: SECRET")
	git(t, dir, "config", "core.sshCommand", "ssh -i "+dir+"/SECRET")
	guest := build(t, open(t, dir), GitOptions{})
	want := `remote.origin.fetch=+refs/heads/*:refs/remotes/origin/*
remote.origin.pushurl=https://push.example.org/x
remote.origin.url=https://example.org/x.git
remote.origin.url=https://second.example.org/x
remote.plain.url=git://example.org/x
remote.query.url=https://example.org/x
remote.scp.url=git@example.org:team/x.git
remote.ssh.url=ssh://git@example.org:22/x
remote.token.url=https://example.org:8443/x`
	var got []string
	for _, line := range strings.Split(git(t, guest, "config", "--local", "--list"), "\n") {
		if strings.HasPrefix(line, "remote.") && (strings.Contains(line, "url=") || strings.HasPrefix(line, "remote.origin.fetch")) {
			got = append(got, line)
		}
	}
	slices.Sort(got)
	if strings.Join(got, "\n") != want {
		t.Errorf("the guest's remotes are\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
	config, err := os.ReadFile(filepath.Join(guest, ".git/config"))
	must(t, err)
	if strings.Contains(string(config), "SECRET") || strings.Contains(string(config), dir) {
		t.Errorf("the guest's config is\n%s", config)
	}
}
