package remote

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"banger/api"
	"banger/internal/host/userns"
	"banger/internal/workspace/gitrepo"
)

// slowEnv names a URL; the program then clones it to a directory, and does nothing else.
const slowEnv = "BANGER_TEST_CLONE"

func TestMain(m *testing.M) {
	userns.Main(map[string]userns.Job{jobFullDisk: runFullDisk})
	if url := os.Getenv(slowEnv); url != "" {
		fmt.Println(Make(context.Background(), Remote{URL: url}, os.Args[1], 0))
		os.Exit(0)
	}
	home, err := os.MkdirTemp("", "remote-home-")
	if err != nil {
		panic(err)
	}
	// Nobody's config but the tests' own, and nobody who could be asked.
	for name, value := range map[string]string{
		"HOME": home, "XDG_CONFIG_HOME": home, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "GIT_CEILING_DIRECTORIES": os.TempDir(),
	} {
		os.Setenv(name, value)
	}
	code := m.Run()
	os.RemoveAll(home)
	os.Exit(code)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// git is the user's git.
func git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=u", "GIT_AUTHOR_EMAIL=u@example.org", "GIT_COMMITTER_NAME=u", "GIT_COMMITTER_EMAIL=u@example.org", "LC_ALL=C.UTF-8")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %v: %v: %s", args, err, errs.String())
	}
	return strings.TrimSuffix(string(out), "\n")
}

// newRepo has commits "one", "two" and "three" on trunk, a tag v1 on "two", a branch topic with "topic", and
// a reference outside of both.
func newRepo(t testing.TB, init ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "project")
	git(t, "/", append(append([]string{"init", "-q", "-b", "trunk"}, init...), dir)...)
	git(t, dir, "config", "http.receivepack", "false")
	commit(t, dir, "one")
	commit(t, dir, "two")
	git(t, dir, "tag", "-a", "-m", "a tag", "v1")
	git(t, dir, "checkout", "-q", "-b", "topic")
	commit(t, dir, "topic")
	git(t, dir, "update-ref", "refs/pull/7/head", "topic")
	git(t, dir, "checkout", "-q", "trunk")
	commit(t, dir, "three")
	return dir
}

// commit makes a commit with a file of its name.
func commit(t testing.TB, dir, name string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(dir, name), []byte(name+"\n"), 0o644))
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-q", "-m", name)
}

func parsed(t testing.TB, text string) Remote {
	t.Helper()
	r, err := Parse(text, "/")
	must(t, err)
	return r
}

// made is a clone of a remote.
type made struct {
	t    testing.TB
	r    Remote
	dir  string
	tree string
}

func makeClone(t testing.TB, text string, commits int) made {
	t.Helper()
	c := made{t: t, r: parsed(t, text), dir: filepath.Join(t.TempDir(), "clone")}
	must(t, Make(t.Context(), c.r, c.dir, commits))
	c.tree = filepath.Join(c.dir, c.r.Directory())
	return c
}

func (c made) renew(o gitrepo.GitOptions) (string, error) {
	c.t.Helper()
	repo, err := gitrepo.Open(c.t.Context(), c.tree, "")
	must(c.t, err)
	return Renew(c.t.Context(), c.r, c.dir, repo, o)
}

func (c made) log() string {
	c.t.Helper()
	return strings.ReplaceAll(git(c.t, c.tree, "log", "--format=%s"), "\n", " ")
}

func checkError(t testing.TB, err error, kind api.Kind, text, hint string) {
	t.Helper()
	e := api.AsError(err)
	if err == nil || e.Kind != kind || !strings.Contains(e.Message, text) || !strings.Contains(e.Hint, hint) {
		t.Errorf("got %v, want an error of kind %s with %q, and the hint %q", err, kind, text, hint)
		if e != nil {
			t.Logf("kind %s, hint %q", e.Kind, e.Hint)
		}
	}
}

// serve serves the repositories below a directory over HTTP, with git's own program. before, unless
// nil, sees each request first, and answers it if it returns true.
func serve(t testing.TB, root string, before func(http.ResponseWriter, *http.Request) bool) string {
	t.Helper()
	out, err := exec.Command("git", "--exec-path").Output()
	must(t, err)
	backend := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(out)), "git-http-backend"), Stderr: &bytes.Buffer{},
		Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "HOME=" + os.Getenv("HOME")}, InheritEnv: []string{"PATH"},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if before == nil || !before(w, r) {
			backend.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// within waits until something is so.
func within(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("timed out: " + what)
		}
	}
}
