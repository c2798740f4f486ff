package workspace_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/internal/workspace"
	"banger/internal/workspace/gitrepo"
	"banger/internal/workspace/worktest"
)

// TestTypesChange: files, links, directories and programs become each other, on either side.
func TestTypesChange(t *testing.T) {
	before := map[string]string{"f2d": "f\n", "d2f/a": "a\n", "d2f/in/b": "b\n", "f2l": "f\n", "l2f": "-> one", "d2l/a": "a\n", "plain": "p\n", "run": "#!r\n", "keep/a": "a\n", "l2d": "-> keep"}
	edits := []struct{ name, content string }{
		{"f2d", ""}, {"f2d/x/y", "y\n"}, {"d2f", ""}, {"d2f", "file\n"}, {"f2l", "-> one"}, {"l2f", "file\n"}, {"l2d", ""}, {"l2d/a", "x\n"},
		{"d2l", ""}, {"d2l", "-> keep"}, {"keep/a", ""}, {"keep", "a file\n"},
	}
	for _, host := range []bool{true, false} {
		t.Run(fmt.Sprint("host ", host), func(t *testing.T) {
			s := newSynced(t, before)
			dir := s.dir
			if host {
				dir = s.top
			}
			// Directories without files are in no snapshot, and still in the way.
			for _, at := range []string{s.top, s.dir} {
				if err := os.MkdirAll(filepath.Join(at, "d2f/empty/er"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for _, e := range edits {
				put(t, dir, e.name, e.content)
			}
			for name, mode := range map[string]os.FileMode{"plain": 0o755, "run": 0o644} {
				if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
					t.Fatal(err)
				}
			}
			got := s.sync("")
			if strings.Contains(got, "!") || strings.Contains(got, "again") {
				t.Errorf("%s", got)
			}
			s.same()
			s.want("then", s.sync(""))
			for name, exec := range map[string]bool{"plain": true, "run": false} {
				for _, at := range []string{s.top, s.dir} {
					info, err := os.Stat(filepath.Join(at, name))
					if err != nil || info.Mode()&0o100 != 0 != exec {
						t.Errorf("%s: %v, %v", name, info.Mode(), err)
					}
				}
			}
		})
	}
}

// TestPermissionsStay: git knows of the right to execute alone, and a new file has the host's.
func TestPermissionsStay(t *testing.T) {
	s := newSynced(t, nil)
	if err := os.Chmod(filepath.Join(s.dir, "one"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.onHost("one", "changed\n")
	s.onHost("secret", "s\n")
	if err := os.Chmod(filepath.Join(s.top, "secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.want("sync", s.sync(""), "> one", "> secret")
	for _, name := range []string{"one", "secret"} {
		if info, err := os.Stat(filepath.Join(s.dir, name)); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

// TestFilesThatGitIgnores: they are each side's own.
func TestFilesThatGitIgnores(t *testing.T) {
	s := newSynced(t, map[string]string{".gitignore": "*.o\nnode_modules/\n", "later.log": "l\n"})
	s.onHost("a.o", "host\n")
	s.onGuest("a.o", "guest\n")
	s.onGuest("node_modules/x/index.js", "x\n")
	s.want("ignored", s.sync(""))
	// A file that git begins to ignore is nobody's deletion.
	s.onGuest(".gitignore", "*.o\nnode_modules/\n*.log\n")
	s.want("rules", s.sync(""), "< .gitignore")
	s.want("then", s.sync(""))
	s.onHost("later.log", "host\n")
	s.onGuest("later.log", "guest\n")
	s.want("each its own", s.sync(""))
	s.onHost("later.log", "")
	s.want("removed here", s.sync(""))
	s.onHost("later.log", "host\n")
	// What is not ignored any more is compared.
	s.onHost(".gitignore", "node_modules/\n*.log\n")
	s.want("one side's rules", s.sync(""), "> .gitignore", "! a.o: a file that git ignores is in its place in the guest")
	s.want("both sides' rules", s.sync(""), "! a.o: it was added on both sides with different contents")
	s.want("the host's", s.sync("host"), "> a.o")
}

// TestAnIgnoredFileIsNotReplaced: of the host, by one of a guest that ignores nothing.
func TestAnIgnoredFileIsNotReplaced(t *testing.T) {
	s := newSynced(t, map[string]string{".gitignore": "*.o\n"})
	s.onHost("a.o", "host\n")
	s.onGuest(".gitignore", "")
	s.onGuest("a.o", "guest\n")
	s.want("sync", s.sync(""), "< .gitignore", "! a.o: a file that git ignores is in its place here")
	s.want("then", s.sync(""), "! a.o: it was added on both sides with different contents")
	if got := worktest.Files(t, s.top, ".git")["a.o"]; got != "host\n" {
		t.Errorf("%q", got)
	}
}

// TestWhatIsTrackedIsNotIgnored: a file that the user added to git against the rules, and those
// that were sent though git ignores them.
func TestWhatIsTrackedIsNotIgnored(t *testing.T) {
	s := newSynced(t, map[string]string{".gitignore": "*.o\n"})
	s.onHost("forced.o", "1\n")
	s.git("add", "-f", "forced.o")
	s.want("to the guest", s.sync(""), "> forced.o")
	s.onGuest("forced.o", "2\n")
	s.want("to the host", s.sync(""), "< forced.o")
	s.onGuest("forced.o", "")
	s.want("removed", s.sync(""), "< forced.o")
	s.same()

	f := newFixture(t)
	f.write(".gitignore", ".env\n")
	f.write(".env", "1\n")
	_, err := f.w.Ship(t.Context(), f.guest, workspace.Cargo{VM: vm, Directory: directory, Select: gitrepo.Select{IncludeIgnored: []string{".env"}}})
	if err != nil {
		t.Fatal(err)
	}
	s = syncedOf(f)
	s.onGuest(".env", "guest\n")
	s.want("included", s.sync(""), "< .env")
	s.onHost("sub/.env", "host\n")
	s.want("included", s.sync(""), "> sub/.env")
	s.onGuest("sub/.env", "guest\n")
	s.onGuest("other/.env", "new\n")
	s.want("included", s.sync(""), "< other/.env", "< sub/.env")
	s.onHost(".env", "")
	s.want("removed", s.sync(""), "> .env")
	s.same()
}

// TestLineEnds: the guest gets the bytes of the host's tree, and what comes back is what git makes
// of them.
func TestLineEnds(t *testing.T) {
	s := newSynced(t, map[string]string{".gitattributes": "*.bat text eol=crlf\n", "run.bat": "a\r\n"})
	s.onHost("run.bat", "b\r\n")
	s.onHost("new.bat", "n\r\n")
	s.want("to the guest", s.sync(""), "> new.bat", "> run.bat")
	s.same()
	s.want("then", s.sync(""))
	s.onGuest("run.bat", "c\r\n")
	s.want("to the host", s.sync(""), "< run.bat")
	s.same()
	s.want("then", s.sync(""))
	// Attributes that the guest did not have when it was sent the files.
	s.onHost(".gitattributes", "*.bat text eol=crlf\n*.txt text eol=crlf\n")
	s.onHost("a.txt", "1\r\n")
	s.want("to the guest", s.sync(""), "> .gitattributes", "> a.txt")
	s.onGuest("a.txt", "2\r\n")
	s.want("to the host", s.sync(""), "< a.txt")
	s.same()
	for n := 0; s.sync("") != ""; n++ {
		if n == 2 {
			t.Fatal("it does not come to rest")
		}
	}
	s.same()
}

// TestNames: of any bytes that a file can have.
func TestNames(t *testing.T) {
	s := newSynced(t, nil)
	for n, name := range []string{"a b", "new\nline", "\xff\xfe", `q"uote\`, "ünïcode", "-dash", "Case", "case"} {
		if n%2 == 0 {
			s.onHost(name, "x\n")
		} else {
			s.onGuest(name, "y\n")
		}
	}
	r, err := s.try("")
	if err != nil || len(r.ToGuest) != 4 || len(r.Conflicts) > 0 {
		t.Errorf("%s, %v", describe(r), err)
	}
	s.sync("")
	if _, err := os.Stat(filepath.Join(s.top, `q"uote\`)); err == nil {
		s.same()
	} else {
		s.same(`q"uote\`) // on some file system it is two names
	}
	s.want("then", s.sync(""))
}

// TestASubmoduleIsLeftAlone: and said so; the rest is synced.
func TestASubmoduleIsLeftAlone(t *testing.T) {
	f := newFixture(t)
	inner := t.TempDir()
	worktest.Write(t, inner, "lib.c", "1\n")
	for _, args := range [][]string{{"init", "-q"}, {"add", "."}, {"-c", "user.name=U", "-c", "user.email=u@e.x", "commit", "-qm", "lib"}} {
		f.git(append([]string{"-C", inner}, args...)...)
	}
	f.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", inner, "lib")
	if err := f.ship(); err != nil {
		t.Fatal(err)
	}
	s := syncedOf(f)
	s.want("at first", s.sync(""))
	s.onHost("lib/lib.c", "host\n")
	s.onGuest("lib/lib.c", "guest\n")
	s.onGuest("one", "guest\n")
	r, err := s.try("")
	if err != nil || describe(r) != "< one" {
		t.Errorf("%s, %v", describe(r), err)
	}
	if len(r.Warnings) != 1 || r.Warnings[0].Path != "lib" {
		t.Errorf("%+v", r.Warnings)
	}
	s.want("then", s.sync("")) // the work tree is the guest's, and another commit of the submodule
	refs := len(s.refs())
	s.want("then", s.sync(""))
	if got := len(s.refs()); got != refs {
		t.Errorf("%d commits of nothing", got-refs)
	}
}
