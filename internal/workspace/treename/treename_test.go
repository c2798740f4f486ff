package treename_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"banger/internal/host/execx"
	"banger/internal/workspace/treename"
)

var (
	malformed = []string{"", "/", "/etc/passwd", "a//b", "a/", "./a", "a/./b", "..", "../a", "a/../b", "a/..", "a\x00b"}
	refused   = []string{
		".git", ".GIT/hooks/pre-commit", "a/.Git/config", ".git.", ".git ", ".git . .", ".git::$INDEX_ALLOCATION", ".git:x",
		"git~1", "GIT~1/config", "git~1.", "git~1:x", "a/.g\u200cit", "\ufeff.git", ".gi\u206ft/x", ".git\\config", "a\\.git", "a\\git~1\\x", "a\\..\\b",
		strings.Repeat("x", 256), strings.Repeat("x/", 1500) + "x",
	}
	refusedLinks = []string{
		".gitmodules", ".GitModules", "a/.gitmodules", ".gitmodules.", ".gitmodules :x", ".gitm\u200dodules", "gitmod~1", "GITMOD~4 ", "gi7eba~1", "gi7~12", "g~1", "a\\.gitmodules",
	}
	accepted = []string{
		"a", ".gitignore", ".gitmodules", ".github/x", "a.git", "x.git/config", "git", ".gitx", "git~2", ".git-x/y", "...", "..a", "a b", "größe", "a\nb", "a\\b", "\xff\xfe", "C:x", "-rf",
		strings.Repeat("x", 255), "gi7eba~1",
	}
)

func TestCheck(t *testing.T) {
	for _, name := range malformed {
		if err := treename.Check(name, false); !errors.Is(err, treename.ErrMalformed) {
			t.Errorf("%q: %v, want ErrMalformed", name, err)
		}
	}
	for _, name := range refused {
		if err := treename.Check(name, false); err == nil || errors.Is(err, treename.ErrMalformed) {
			t.Errorf("%.60q: %v, want a refusal", name, err)
		}
	}
	for _, name := range accepted {
		if err := treename.Check(name, false); err != nil {
			t.Errorf("%.60q: %v", name, err)
		}
	}
	for _, name := range refusedLinks {
		if err := treename.Check(name, true); err == nil {
			t.Errorf("the link %q is accepted", name)
		}
	}
	if err := treename.Check("modules", true); err != nil {
		t.Error(err)
	}
}

// TestGitAgrees: what Check refuses by its rules for .git, git refuses too; otherwise such a
// rule would be of no use.
func TestGitAgrees(t *testing.T) {
	g := newGit(t)
	for _, name := range append(refused[:len(refused)-2:len(refused)-2], malformed[1:len(malformed)-1]...) {
		if err := g.add(name, false); err == nil && name != "a\\..\\b" {
			t.Errorf("git accepts %q", name)
		}
	}
	for _, name := range refusedLinks {
		if err := g.add(name, true); err == nil && name != "g~1" && name != "gi7~12" {
			t.Errorf("git accepts the link %q", name)
		}
	}
}

// git is a repository that says what git accepts.
type git struct {
	dir  string
	blob string
}

func newGit(t testing.TB) *git {
	g := &git{dir: t.TempDir()}
	for _, args := range [][]string{{"init", "-q"}, {"config", "core.protectHFS", "true"}, {"config", "core.protectNTFS", "true"}} {
		if _, err := g.run("", args...); err != nil {
			t.Fatal(err)
		}
	}
	blob, err := g.run("target", "hash-object", "-w", "--stdin")
	if err != nil {
		t.Fatal(err)
	}
	g.blob = strings.TrimSpace(blob)
	return g
}

func (g *git) run(input string, args ...string) (string, error) {
	var out strings.Builder
	err := execx.Run(context.Background(), execx.Cmd{Name: "git", Args: args, Dir: g.dir, Stdin: strings.NewReader(input), Stdout: &out})
	return out.String(), err
}

// add makes a tree with the name, from nothing, and has git check it.
func (g *git) add(name string, link bool) error {
	mode := "100644"
	if link {
		mode = "120000"
	}
	os.Remove(filepath.Join(g.dir, ".git/index"))
	if _, err := g.run("", "update-index", "--add", "--cacheinfo", mode+","+g.blob+","+name); err != nil {
		return err
	}
	tree, err := g.run("", "write-tree")
	if err != nil {
		return err
	}
	commit, err := g.run("", "-c", "user.name=a", "-c", "user.email=a@b", "commit-tree", "-m", "m", strings.TrimSpace(tree))
	if err != nil {
		return err
	}
	pack, err := g.run(strings.TrimSpace(commit)+"\n", "pack-objects", "-q", "--revs", "--stdout")
	if err != nil {
		return err
	}
	_, err = g.run(pack, "unpack-objects", "-q", "--strict", "-n")
	return err
}

// FuzzCheck: what Check accepts, git accepts with all protections on, so that an import never
// fails at the last step.
func FuzzCheck(f *testing.F) {
	for _, list := range [][]string{refused, refusedLinks, accepted} {
		for _, name := range list {
			f.Add(name, false)
			f.Add(name, true)
		}
	}
	g := newGit(f)
	f.Fuzz(func(t *testing.T, name string, link bool) {
		if treename.Check(name, link) != nil || len(name) > 1000 {
			return
		}
		if err := g.add(name, link); err != nil {
			t.Errorf("Check accepts %q, git does not: %v", name, err)
		}
	})
}

func TestCollisions(t *testing.T) {
	all := []string{"A/x", "README", "a/y", "readme", "src/Main.c", "src/main.c", "src/other", "ÄB", "äb"}
	slices.Sort(all)
	isNew := func(name string) bool { return name != "src/Main.c" && name != "src/main.c" }
	got := fmt.Sprint(treename.Collisions(all, isNew))
	if want := "[{a A} {readme README} {äb ÄB}]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
