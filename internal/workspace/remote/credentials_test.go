package remote

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"banger/internal/workspace/gitrepo"
)

const secret = "hunter2-secret"

func containsSecret(err error) bool { return strings.Contains(err.Error(), "secret") }

// TestCredentials: those of a URL get git in, and are in no file, in no argument of a program, and not
// with the user's credential helper.
func TestCredentials(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	must(t, os.WriteFile(filepath.Join(home, ".gitconfig"), []byte("[credential]\n\thelper = \"!f() { cat >> "+home+"/helper; echo $1 >> "+home+"/helper; }; f\"\n"), 0o644))
	dir := newRepo(t)
	var seen, in atomic.Int32
	url := serve(t, filepath.Dir(dir), func(w http.ResponseWriter, r *http.Request) bool {
		if running(secret) {
			seen.Add(1)
		}
		if user, password, _ := r.BasicAuth(); user != "me" || password != secret {
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		in.Add(1)
		return false
	})
	with := strings.Replace(url, "http://", "http://me:"+secret+"@", 1) + "/project/.git"
	m := makeClone(t, with, 1)
	commit(t, dir, "four")
	_, err := m.renew(gitrepo.GitOptions{})
	must(t, err)
	if got := m.log(); in.Load() == 0 || got != "four three" {
		t.Errorf("it has %q", got)
	}
	if n := seen.Load(); n > 0 {
		t.Errorf("the password was in the arguments of a program at %d requests", n)
	}
	checkFiles(t, m.dir)
	checkFiles(t, home)
	if _, err := os.Stat(filepath.Join(home, "helper")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the user's helper was asked, or told: %v", err)
	}
	if got := git(t, m.tree, "remote", "get-url", "origin"); got != url+"/project/.git" {
		t.Errorf("the URL is %s", got)
	}
	// Wrong ones: the error does not repeat them.
	err = Make(t.Context(), parsed(t, strings.Replace(with, "me:", "you:", 1)), filepath.Join(t.TempDir(), "clone"), 1)
	if err == nil || containsSecret(err) {
		t.Errorf("the error is %v", err)
	}
}

// TestTheUsersHelperIsAsked for what the URL does not say.
func TestTheUsersHelperIsAsked(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	must(t, os.WriteFile(filepath.Join(home, ".gitconfig"), []byte("[credential]\n\thelper = \"!f() { test $1 = get && grep -q username=me && echo password="+secret+"; }; f\"\n"), 0o644))
	dir := newRepo(t)
	url := serve(t, filepath.Dir(dir), func(w http.ResponseWriter, r *http.Request) bool {
		user, password, _ := r.BasicAuth()
		if user == "me" && password == secret {
			return false
		}
		w.Header().Set("WWW-Authenticate", "Basic")
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	m := makeClone(t, strings.Replace(url, "http://", "http://me@", 1)+"/project/.git", 1)
	if got := m.log(); got != "three" {
		t.Errorf("it has %q", got)
	}
}

// checkFiles wants the password in no file.
func checkFiles(t *testing.T, dir string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(name)
		if bytes.Contains(data, []byte(secret)) {
			t.Errorf("%s has the password", name)
		}
		return err
	}))
}
