package commands

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"banger/api"
)

func TestDir(t *testing.T) {
	for programs, want := range map[string]string{
		"/usr/local/lib/banger":           "/usr/local/bin",
		"/home/ann/.local/lib/banger/":    "/home/ann/.local/bin",
		"/a user's place/lib/banger":      "/a user's place/bin",
		"/lib/banger":                     "/bin",
		"/usr/local/lib/banger/versions":  "",
		"/home/ann/src/banger":            "",
		"/home/ann/lib/banger-2":          "",
		"/home/ann/glib/banger":           "",
		"/usr/local/lib/banger/../banger": "/usr/local/bin",
		"":                                "",
	} {
		if got := Dir(programs); got != want {
			t.Errorf("%q: %q", programs, got)
		}
	}
}

// inPlace is what may have the name of a link, and how that is to be seen.
var inPlace = map[string]struct {
	put  func(path string) error
	want State
}{
	"nothing":         {func(string) error { return nil }, Missing},
	"ours":            {func(path string) error { return os.Symlink(Target, path) }, Ours},
	"a file":          {func(path string) error { return os.WriteFile(path, []byte("mine"), 0o755) }, Other},
	"a directory":     {func(path string) error { return os.Mkdir(path, 0o755) }, Other},
	"a link":          {func(path string) error { return os.Symlink("/bin/true", path) }, Other},
	"a dangling link": {func(path string) error { return os.Symlink("gone", path) }, Other},
	"one version's": {func(path string) error {
		return os.Symlink("../lib/banger/versions/v1.0.0/banger", path)
	}, Other},
}

// TestAdd: each link is made if nothing has its name, and whatever has it stays.
func TestAdd(t *testing.T) {
	for what, c := range inPlace {
		for _, name := range Names {
			path := filepath.Join(t.TempDir(), "bin", name)
			if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := c.put(path); err != nil {
				t.Fatal(err)
			}
			if got := Look(path); got != c.want {
				t.Errorf("%s, %s: %s", name, what, got)
			}
			before, _ := os.Lstat(path)
			added, err := Add(path)
			if added != (c.want == Missing) || (err != nil) != (c.want == Other) {
				t.Errorf("%s, %s: %v, %v", name, what, added, err)
			}
			if err != nil && (api.KindOf(err) != api.KindConflict || !strings.Contains(err.Error(), path+": another file is there")) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
			after, _ := os.Lstat(path)
			if before != nil && !os.SameFile(before, after) {
				t.Errorf("%s, %s: it was replaced", name, what)
			}
			if want := map[State]State{Missing: Ours, Ours: Ours, Other: Other}[c.want]; Look(path) != want {
				t.Errorf("%s, %s: it is %s afterwards", name, what, Look(path))
			}
		}
	}
}

func TestAddWithoutADirectory(t *testing.T) {
	dir := t.TempDir()
	if added, err := Add(dir + "/new/bin/banger"); err != nil || !added {
		t.Error(added, err)
	}
	if err := os.WriteFile(dir+"/file", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if Look(dir+"/file/banger") != Missing {
		t.Error("there is no link below a file")
	}
	if added, err := Add(dir + "/file/banger"); err == nil || added {
		t.Error("made a link below a file")
	}
}

func TestUnlinked(t *testing.T) {
	dir := t.TempDir()
	for _, do := range []error{os.Symlink(Target, dir+"/a"), os.Symlink("x", dir+"/b")} {
		if do != nil {
			t.Fatal(do)
		}
	}
	want := []Link{{"b", Other}, {"c", Missing}}
	if diff := cmp.Diff(want, Unlinked(dir, []string{"a", "b", "c"})); diff != "" {
		t.Error(diff)
	}
}

func TestCheck(t *testing.T) {
	if err := Check(Names); err != nil {
		t.Error("our own:", err)
	}
	for _, name := range []string{
		"", "ls", "git", "git-remote-http", "bangers", "abanger", "Banger", "banger/x", "../banger", "/banger", "banger.sh",
		"-banger", "banger-", "git--banger", "banger\n", "banger x", "git-remote-\x00banger", strings.Repeat("x", 60) + "-banger",
	} {
		if Check([]string{"banger", name}) == nil {
			t.Errorf("%q is taken", name)
		}
	}
	for _, name := range []string{"banger", "git-remote-banger", "docker-banger-2", "banger-mcp"} {
		if err := Check([]string{name}); err != nil {
			t.Error(err)
		}
	}
	if Check(make([]string, 17)) == nil {
		t.Error("there may be any number")
	}
}
