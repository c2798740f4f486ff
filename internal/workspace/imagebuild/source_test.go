package imagebuild

import (
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/workspace/devcontainer"
	"banger/internal/workspace/gitrepo"
)

// TestContext: the context are files of the workspace, as .dockerignore has it, and no link is followed.
func TestContext(t *testing.T) {
	r := workspace(t, map[string]string{
		"d/Dockerfile": "FROM scratch", "a": "A", "run": "#! x", "sub/b.md": "B", "sub/keep.md": "K", "node_modules/x": "X", ".env": "SECRET=1", "d/c": "C",
		"out": "-> /etc", "sub/in": "-> ../a", ".gitignore": ".env\n", ".dockerignore": "# a comment\n**/*.md\n!sub/keep.md\nnode_modules\n",
	})
	for name, c := range map[string]struct {
		build devcontainer.Build
		how   gitrepo.Select
		want  []string
	}{
		"the whole":     {devcontainer.Build{Dockerfile: "d/Dockerfile", Context: "."}, gitrepo.Select{}, []string{".dockerignore", ".gitignore", "a", "d/Dockerfile", "d/c", "out", "run", "sub/in", "sub/keep.md"}},
		"a directory":   {devcontainer.Build{Dockerfile: "d/Dockerfile", Context: "sub"}, gitrepo.Select{}, []string{"sub/b.md", "sub/in", "sub/keep.md"}},
		"ignored files": {devcontainer.Build{Dockerfile: "d/Dockerfile", Context: "d"}, gitrepo.Select{IncludeIgnored: []string{".env"}}, []string{"d/Dockerfile", "d/c"}},
	} {
		s, err := open(t, r, c.how, c.build)
		if err != nil {
			t.Fatal(err)
		}
		g := &guest{files: map[string]string{}}
		if err := (Build{Source: s, Report: func(api.Progress) {}}).send(t.Context(), g); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, slices.Sorted(maps.Keys(g.sent()))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if name == "the whole" && (g.sent()["out"] != "-> /etc" || g.sent()["a"] != "A") {
			t.Errorf("%q", g.sent())
		}
	}
	r.Write(t, "d/Dockerfile.dockerignore", "*\n!run\n")
	s, err := open(t, r, gitrepo.Select{IncludeIgnored: []string{".env"}}, devcontainer.Build{Dockerfile: "d/Dockerfile", Context: "."})
	if err != nil || len(s.files) != 1 || s.files[0].Path != "run" {
		t.Errorf("rules of the Dockerfile's own do not count: %v, %v", s.files, err)
	}
}

// TestRefused: what leads out of the workspace, and what is not a build.
func TestRefused(t *testing.T) {
	r := workspace(t, map[string]string{
		"Dockerfile": "FROM scratch", "file": "x", "dir/x": "x", "out": "-> ..", "in": "-> dir", "passwd": "-> /etc/passwd",
		"bad/.dockerignore": "!\n", "class/.dockerignore": "[\n", "many/.dockerignore": strings.Repeat("x\n", maxRules+1), "long/.dockerignore": strings.Repeat("x", int(maxIgnore)+1),
		"link/.dockerignore": "-> /etc/passwd", "large": strings.Repeat("#", int(maxDockerfile)+1),
	})
	if err := unix.Mkfifo(filepath.Join(r.Dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for b, want := range map[[2]string]string{
		{"Dockerfile", "out"}:    "escapes",
		{"Dockerfile", "file"}:   "it is not a directory",
		{"Dockerfile", "none"}:   "no such file",
		{"Dockerfile", "bad"}:    "illegal exclusion pattern",
		{"Dockerfile", "class"}:  "syntax error",
		{"Dockerfile", "many"}:   "too many rules",
		{"Dockerfile", "long"}:   "larger than",
		{"Dockerfile", "link"}:   "escapes",
		{"dir", "."}:             "it is not a regular file",
		{"none", "."}:            "no such file",
		{"passwd", "."}:          "escapes",
		{"fifo", "."}:            "it is not a regular file",
		{"large", "."}:           "larger than",
		{"out/x", "."}:           "escapes",
		{"Dockerfile", "in"}:     "",
		{"Dockerfile", "in/../"}: "",
	} {
		_, err := open(t, r, gitrepo.Select{}, devcontainer.Build{Dockerfile: b[0], Context: b[1]})
		if want == "" && err != nil || want != "" && (api.KindOf(err) != api.KindInvalid || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", b, err, want)
		}
	}
}

// TestKey: what a build can see changes the key, and nothing else does.
func TestKey(t *testing.T) {
	r := workspace(t, map[string]string{"Dockerfile": "FROM scratch", "a": "A", "b.md": "x", ".dockerignore": "*.md\n", ".gitignore": ".env\n", ".env": "1"})
	b := devcontainer.Build{Dockerfile: "Dockerfile", Context: ".", Args: map[string]string{"A": "1"}}
	key := func() string {
		t.Helper()
		s, err := open(t, r, gitrepo.Select{}, b)
		if err != nil {
			t.Fatal(err)
		}
		k, err := s.Key(t.Context())
		if err != nil || len(k) != keyDigits {
			t.Fatal(k, err)
		}
		return k
	}
	first := key()
	for name, change := range map[string]func(){
		"a time":          func() { _ = os.Chtimes(filepath.Join(r.Dir, "a"), time.Unix(1, 0), time.Unix(1, 0)) },
		"an ignored file": func() { r.Write(t, "b.md", "y"); r.Write(t, ".env", "2") },
	} {
		if change(); key() != first {
			t.Errorf("%s changes the key", name)
		}
	}
	seen := map[string]string{first: "the first"}
	for _, c := range []struct {
		name   string
		change func()
	}{
		{"the Dockerfile", func() { r.Write(t, "Dockerfile", "FROM x") }},
		{"a file", func() { r.Write(t, "a", "B") }},
		{"a mode", func() { _ = os.Chmod(filepath.Join(r.Dir, "a"), 0o755) }},
		{"a new file", func() { r.Write(t, "c", "") }},
		{"a link", func() { r.Write(t, "d", "-> c") }},
		{"an argument", func() { b.Args = map[string]string{"A": "2"} }},
		{"another argument", func() { b.Args = map[string]string{"A": "2", "B": ""} }},
		{"the target", func() { b.Target = "x" }},
		{"the rules", func() { r.Write(t, ".dockerignore", "") }},
	} {
		c.change()
		k := key()
		if before, same := seen[k]; same {
			t.Errorf("%s gives the key of %s", c.name, before)
		}
		seen[k] = c.name
	}
}

// TestKeyOfAChangingTree: a file that cannot be read is an error, and nobody waits for ever.
func TestKeyOfAChangingTree(t *testing.T) {
	r := workspace(t, map[string]string{"Dockerfile": "FROM scratch", "a": "A"})
	s, err := open(t, r, gitrepo.Select{}, devcontainer.Build{Dockerfile: "Dockerfile", Context: "."})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(r.Dir); err != nil {
		t.Fatal(err)
	}
	if k, err := s.Key(t.Context()); err == nil {
		t.Errorf("the key of nothing is %s", k)
	}
	if err := (Build{Source: s, Report: func(api.Progress) {}}).send(t.Context(), &guest{files: map[string]string{}}); err == nil || strings.Contains(err.Error(), io.ErrClosedPipe.Error()) {
		t.Errorf("nothing was sent: %v", err)
	}
}
