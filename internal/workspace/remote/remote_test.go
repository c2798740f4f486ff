package remote

import (
	"os"
	"path/filepath"
	"testing"

	"banger/api"
)

// TestParse: what is one repository is one URL, without credentials.
func TestParse(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"repo", "c#", "50%"} {
		must(t, os.Mkdir(filepath.Join(dir, name), 0o755))
	}
	for text, want := range map[string]string{
		"https://h/x": "https://h/x", "https://u:secret@H:443/x/": "https://h/x", "https://secret@h/x.git#v1": "https://h/x.git#v1",
		"HTTPS://h:8443/x": "https://h:8443/x", "ssh://git:secret@h:22/x": "ssh://git@h/x", "git@h.example:x/y.git": "git@h.example:x/y.git",
		"git@h.example:x#feature/a": "git@h.example:x#feature/a", "file:///x/y#z": "file:///x/y#z", "ssh://[::1]/x": "ssh://[::1]/x", "git://h:9418/x": "git://h/x",
		"repo": "file://" + dir + "/repo", "./repo#main": "file://" + dir + "/repo#main", dir + "/repo/": "file://" + dir + "/repo",
		"c#": "file://" + dir + "/c%23", "50%": "file://" + dir + "/50%25",
		"https://h/x#refs/pull/1/head": "https://h/x#refs/pull/1/head",
	} {
		r, err := Parse(text, dir)
		if err != nil || r.String() != want {
			t.Errorf("%q is %q, want %q (%v)", text, r, want, err)
			continue
		}
		if again, err := Parse(r.String(), "/"); err != nil || again.String() != want { // what is printed can be typed
			t.Errorf("%q is %q again (%v)", want, again, err)
		}
	}
}

// TestParseRefuses what git would take for an option, a program, or several references.
func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		"", "#main", "-x", "--upload-pack=touch /tmp/x", "ext::sh -c id", "fd::17", "transport::https://h/x", "ext::sh -c id://", "https://h/x?token=secret", "https://h/x\n",
		"javascript://h/x", "https://", "u:secret@h:x", "nothing-here", "https://h/x#", "https://h/x#-x", "https://h/x#a:b", "https://h/x#+a", "https://h/x#a b", "https://h/x#a..b",
		"https://h/x#@{-1}", "https://h/x#a^", "https://u:a%0Ab@h/x", "https://u:secret#more@h/x", "-oProxyCommand=touch /tmp/x:x",
	} {
		r, err := Parse(text, t.TempDir())
		if kind := api.KindOf(err); kind != api.KindInvalid && kind != api.KindNotFound {
			t.Errorf("%q is %q (%v)", text, r, err)
		} else if len(text) > 3 && containsSecret(err) {
			t.Errorf("the error has the password: %v", err)
		}
	}
}

// TestDirectory is a name that a directory can have.
func TestDirectory(t *testing.T) {
	for url, want := range map[string]string{
		"https://h/a/markdown.git": "markdown", "git@h.example:x.git": "x", "git@h:a/b": "b", "file:///a/b/.git": "b", "https://h": "h", "file:///": "repository",
		"https://h/..": "repository", "https://h/.git": "h", "https://h/a%20b": "a-20b", "ssh://h/~u/x/": "x",
	} {
		if got := (Remote{URL: url}).Directory(); got != want {
			t.Errorf("%s is cloned into %q, want %q", url, got, want)
		}
	}
}

// TestFind: the name of a remote comes first, as in git, and its path is relative to the work tree.
func TestFind(t *testing.T) {
	upstream := newRepo(t)
	dir := filepath.Join(filepath.Dir(upstream), "mine")
	git(t, "/", "init", "-q", dir)
	git(t, dir, "remote", "add", "up/stream", "../project")
	git(t, dir, "remote", "add", "origin", "https://user:secret@h/x")
	must(t, os.MkdirAll(filepath.Join(dir, "sub", "origin"), 0o755))
	for text, want := range map[string]string{
		"up/stream#topic": "file://" + upstream + "#topic", "origin": "https://h/x", "./origin": "file://" + dir + "/sub/origin",
	} {
		r, err := Find(t.Context(), text, filepath.Join(dir, "sub"))
		if err != nil || r.String() != want {
			t.Errorf("%s is %s, want %s (%v)", text, r, want, err)
		}
	}
	_, err := Find(t.Context(), "nobody", dir)
	checkError(t, err, api.KindNotFound, `"nobody"`, "git remote -v")
}
