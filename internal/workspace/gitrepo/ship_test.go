package gitrepo

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"banger/api"
)

// notes collects what a user is told.
type notes map[string]string

func (n notes) add(path, what string) { n[path] = what }

// list returns the paths that ship, and what is said.
func list(t testing.TB, r *Repo, o Select) ([]string, notes) {
	t.Helper()
	said := notes{}
	o.Note = said.add
	files, err := r.Files(t.Context(), o)
	must(t, err)
	var names []string
	for _, f := range files {
		names = append(names, f.Path)
	}
	if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Errorf("the list is not sorted, or has a path twice: %q", names)
	}
	return names, said
}

// TestIncludeIgnored: patterns are those of a .gitignore, submodules and nested repositories
// included.
func TestIncludeIgnored(t *testing.T) {
	dir := submodules(t)
	for _, top := range []string{dir, filepath.Join(dir, "sub"), filepath.Join(dir, "subdir/nested")} {
		if !strings.HasSuffix(top, "nested") {
			write(t, top, "ignored.env", "x", "ignored/cache/x", "x", "ignored/.env", "x")
			continue
		}
		must(t, os.Mkdir(top, 0o755))
		git(t, top, "init", "-q")
		write(t, top, ".gitignore", "ignored*", "ignored.env", "x", "kept", "x")
	}
	nestedIgnored := filepath.Join(dir, "ignored/repo")
	git(t, dir, "init", "-q", nestedIgnored)
	write(t, nestedIgnored, "in it", "x")
	r := open(t, dir)
	base, _ := list(t, r, Select{})
	for pattern, want := range map[string][]string{
		"*.env":            {"ignored.env", "ignored/.env", "sub/ignored.env", "sub/ignored/.env", "subdir/nested/ignored.env"},
		"ignored.env":      {"ignored.env", "sub/ignored.env", "subdir/nested/ignored.env"},
		"/ignored.env":     {"ignored.env"},
		"sub/ignored.env":  {"sub/ignored.env"},
		"*/*.env":          {"ignored/.env", "sub/ignored.env"},
		"**/ignored/cache": {"ignored/cache/x", "sub/ignored/cache/x"},
		"cache/":           {"ignored/cache/x", "sub/ignored/cache/x"},
		"sub/**":           {"sub/ignored.env", "sub/ignored/.env", "sub/ignored/big", "sub/ignored/cache/x", "sub/dir/ignored.o"},
		"ignored/repo":     {"ignored/repo/in it"},
		"ignore[!d]?":      nil,
		"nothing":          nil,
	} {
		names, _ := list(t, r, Select{IncludeIgnored: []string{pattern}})
		var more []string
		for _, name := range names {
			if !slices.Contains(base, name) {
				more = append(more, name)
			}
		}
		want = slices.DeleteFunc(want, func(n string) bool { _, err := os.Stat(filepath.Join(dir, n)); return err != nil })
		slices.Sort(want)
		if !slices.Equal(more, want) {
			t.Errorf("%s: %q, want %q", pattern, more, want)
		}
	}
	unchanged(t, dir, "a snapshot with ignored files", func() {
		c, err := r.Snapshot(t.Context(), "dev", "x", Select{IncludeIgnored: []string{"*.env"}})
		must(t, err)
		got := inCommit(t, dir, nil, c.ID)
		for _, name := range []string{"ignored.env", "sub/ignored/.env", "subdir/nested/ignored.env"} {
			if got[name] != "file x" {
				t.Errorf("the snapshot has %q: %q", name, got[name])
			}
		}
	})
	for _, bad := range []string{"", "/", "!x", "../x", "a/../b", "./a", "[z-a]", "a\x00"} {
		_, err := r.Files(t.Context(), Select{IncludeIgnored: []string{bad}})
		checkError(t, err, api.KindInvalid, "not a valid pattern", "patterns look like")
	}
}

// TestNestedRepositories: those that git does not know as submodules ship as files, which is said.
func TestNestedRepositories(t *testing.T) {
	dir := newRepo(t)
	for _, name := range []string{"new", "with commits", "with commits/deeper", "linked"} {
		top := filepath.Join(dir, name)
		if name == "linked" {
			git(t, dir, "worktree", "add", "-q", "-b", "side", top)
			continue
		}
		must(t, os.MkdirAll(top, 0o755))
		git(t, top, "init", "-q")
		write(t, top, "file", "of "+name+"\n", ".gitignore", "ignored*\n", "ignored", "x")
		if name != "new" {
			git(t, top, "add", "file")
			git(t, top, "commit", "-q", "-m", "x")
		}
	}
	r, want := open(t, dir), onDisk(t, dir)
	unchanged(t, dir, "a nested repository", func() {
		names, said := list(t, r, Select{})
		for name := range want {
			if !slices.Contains(names, name) {
				t.Errorf("%q does not ship", name)
			}
		}
		if len(names) != len(want) {
			t.Errorf("what ships is %q", names)
		}
		for _, name := range []string{"new", "with commits", "with commits/deeper", "linked"} {
			if !strings.Contains(said[name], "repository of its own") {
				t.Errorf("of %s is said %q", name, said[name])
			}
		}
		c, err := r.Snapshot(t.Context(), "dev", "x", Select{})
		must(t, err)
		compare(t, "the snapshot", inCommit(t, dir, nil, c.ID), want)
	})
	// One that git cannot use is an error with its name.
	write(t, dir, "with commits/.git/config", "[core\n")
	_, err := r.Files(t.Context(), Select{})
	checkError(t, err, api.KindInternal, "cannot use the repository in with commits: ", "")
}

// TestSpecialFiles are left out and named, tracked or not, but not if git ignores them.
func TestSpecialFiles(t *testing.T) {
	dir := newRepo(t)
	must(t, os.Remove(filepath.Join(dir, "a")))
	for _, name := range []string{"pipe", "dir/pipe", "a", "ignored-pipe"} {
		must(t, syscall.Mkfifo(filepath.Join(dir, name), 0o644))
	}
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	must(t, err)
	defer syscall.Close(fd)
	t.Chdir(dir) // the path of a socket is short
	must(t, syscall.Bind(fd, &syscall.SockaddrUnix{Name: "socket"}))
	r := open(t, dir)
	names, said := list(t, r, Select{})
	want := notes{"pipe": "is a named pipe: it does not ship", "dir/pipe": "is a named pipe: it does not ship", "a": "is a named pipe: it does not ship", "socket": "is a socket: it does not ship"}
	for name, what := range want {
		if said[name] != what || slices.Contains(names, name) {
			t.Errorf("of %s is said %q, and what ships is %q", name, said[name], names)
		}
	}
	if len(said) != len(want) {
		t.Errorf("what is said is %q", said)
	}
	c, err := r.Snapshot(t.Context(), "dev", "x", Select{})
	must(t, err)
	if _, err := tryGit(dir, "cat-file", "-e", c.ID+":a"); err == nil {
		t.Error("the snapshot still has the file whose place a pipe took")
	}
}

// TestFolder: what is in no repository ships as a whole, but what a .gitignore says, and has its
// snapshots in banger's own repository, which does not ship even if it is in the folder.
func TestFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "folder")
	write(t, dir, "file", "x\n", "node_modules/x/y", "y\n", ".gitignore", "ignored*\n", "ignored", "x", "sub/.gitignore", "!ignored-not", "sub/ignored-not", "kept\n")
	must(t, os.Mkdir(filepath.Join(dir, "nested"), 0o755))
	git(t, filepath.Join(dir, "nested"), "init", "-q")
	write(t, dir, "nested/file", "x\n")
	own := filepath.Join(dir, ".local/share/banger/git")
	r, err := Open(t.Context(), dir, own)
	must(t, err)
	want := onDisk(t, dir)
	want["sub/ignored-not"] = "file kept\n"
	for range 2 { // without and with the own repository
		files, err := r.Files(t.Context(), Select{})
		must(t, err)
		into := t.TempDir()
		var stream bytes.Buffer
		must(t, r.WriteTar(t.Context(), &stream, files, TarOptions{}))
		compare(t, "the stream", inTar(t, &stream, into), want)
		c, err := r.Snapshot(t.Context(), "dev", "x", Select{})
		must(t, err)
		compare(t, "the snapshot", inCommit(t, dir, []string{"GIT_DIR=" + own}, c.ID), want)
		if c.N != 1 {
			t.Errorf("the number is %d", c.N)
		}
	}
	// What is ignored from now on, and what was included once, leaves the next snapshot.
	write(t, dir, ".gitignore", "ignored*\nnode_modules\n")
	must(t, os.Remove(filepath.Join(dir, "file")))
	delete(want, "node_modules/x/y")
	delete(want, "file")
	want[".gitignore"] = "file ignored*\nnode_modules\n"
	for n, o := range []Select{{IncludeIgnored: []string{"ignored"}}, {}} {
		c, err := r.Snapshot(t.Context(), "dev", "x", o)
		must(t, err)
		if n == 0 {
			want["ignored"] = "file x"
		} else {
			delete(want, "ignored")
		}
		compare(t, "the snapshot", inCommit(t, dir, []string{"GIT_DIR=" + own}, c.ID), want)
		compare(t, "the list", listed(t, r, o, want), want)
	}
	fresh := t.TempDir()
	must(t, r.BuildGit(t.Context(), fresh, GitOptions{Branch: "x"}))
	if entries, _ := os.ReadDir(fresh); len(entries) > 0 {
		t.Errorf("a folder has a repository: %v", entries)
	}
	if entries, err := os.ReadDir(filepath.Dir(own)); err != nil || len(entries) != 1 {
		t.Errorf("beside the own repository are %v (%v)", entries, err)
	}
	// Another process, at the same time and later.
	later, err := Open(t.Context(), filepath.Join(dir, "sub", ".."), own)
	must(t, err)
	if all, err := later.Snapshots(t.Context(), "dev"); err != nil || len(all) != 3 || !later.Folder() {
		t.Errorf("later there are %v (%v)", all, err)
	}
}

// listed are the paths of a list, with what they should have.
func listed(t testing.TB, r *Repo, o Select, want contents) contents {
	t.Helper()
	names, _ := list(t, r, o)
	all := contents{}
	for _, name := range names {
		all[name] = want[name]
	}
	return all
}

// TestManyNewFiles: a first snapshot of many is a pack, and what a filter or line ends change is
// right in it, too.
func TestManyNewFiles(t *testing.T) {
	dir := newRepo(t)
	write(t, dir, ".gitattributes", "*.crlf text\n")
	for i := range many + 10 {
		write(t, dir, fmt.Sprint("new/", i), fmt.Sprint("file ", i), fmt.Sprint("new/", i, ".crlf"), fmt.Sprint(i, "\r\n"))
	}
	want := onDisk(t, dir)
	for name, text := range want {
		want[name] = strings.ReplaceAll(text, "\r\n", "\n")
	}
	c, err := open(t, dir).Snapshot(t.Context(), "dev", "x", Select{})
	must(t, err)
	if packs, _ := filepath.Glob(filepath.Join(dir, ".git/objects/pack/*.pack")); len(packs) != 1 {
		t.Errorf("there are %d packs", len(packs))
	}
	archive := filepath.Join(t.TempDir(), "tar")
	git(t, dir, "archive", "--format=tar", "--output="+archive, c.Tree)
	stream, err := os.Open(archive)
	must(t, err)
	defer stream.Close()
	compare(t, "the snapshot", inTar(t, stream, t.TempDir()), want)
	git(t, dir, "fsck", "--strict")
}
