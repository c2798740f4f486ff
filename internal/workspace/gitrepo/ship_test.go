package gitrepo

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
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

// TestModesAndTimes: permissions of files and directories, and times, are those on disk; bits
// that give rights are not written.
func TestModesAndTimes(t *testing.T) {
	dir := newRepo(t)
	must(t, os.Chmod(filepath.Join(dir, "a"), 0o640|os.ModeSetuid))
	must(t, os.Chmod(filepath.Join(dir, "dir"), 0o700))
	info, err := os.Stat(filepath.Join(dir, "a"))
	must(t, err)
	r := open(t, dir)
	files, err := r.Files(t.Context(), Select{})
	must(t, err)
	var stream bytes.Buffer
	var count int64
	must(t, r.WriteTar(t.Context(), &stream, files, TarOptions{Each: func(_ string, n int64) { count += n }}))
	var sum, dirs int64
	for in := tar.NewReader(&stream); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		sum += h.Size
		switch {
		case h.Name == "a" && (h.Mode != 0o640 || !h.ModTime.Equal(info.ModTime()) || h.Uid != 0 || h.Uname != ""):
			t.Errorf("a is %+v", h)
		case h.Name == "dir/" && h.Mode != 0o700:
			t.Errorf("dir is %+v", h)
		case h.Name == "link" && h.ModTime.Unix() == 0:
			t.Errorf("link is %+v", h)
		}
		if h.Typeflag == tar.TypeDir {
			dirs++
		}
	}
	if sum != count || dirs != 2 {
		t.Errorf("%d bytes were counted of %d, and %d directories", count, sum, dirs)
	}
}

// atPath is a writer that changes something when a name passes.
type atPath struct {
	bytes.Buffer
	do func()
}

func (w *atPath) Write(p []byte) (int, error) {
	if do := w.do; do != nil && w.Len() > 0 {
		w.do = nil
		do()
	}
	return w.Buffer.Write(p)
}

// TestWhatChangesWhileItIsWritten: the stream stays valid, and what did not ship as it was listed
// is named.
func TestWhatChangesWhileItIsWritten(t *testing.T) {
	const size = 3 << 20
	for name, do := range map[string]func(t *testing.T, dir, file string){
		"cut":     func(t *testing.T, _, file string) { must(t, os.Truncate(file, size/2)) },
		"longer":  func(t *testing.T, _, file string) { must(t, os.Truncate(file, size*2)) },
		"changed": func(t *testing.T, _, file string) { must(t, os.WriteFile(file, make([]byte, size), 0o644)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := newRepo(t)
			file := filepath.Join(dir, "big")
			must(t, os.WriteFile(file, bytes.Repeat([]byte("x"), size), 0o644))
			r := open(t, dir)
			files, err := r.Files(t.Context(), Select{})
			must(t, err)
			said := notes{}
			w := &atPath{do: func() { do(t, dir, file) }}
			must(t, r.WriteTar(t.Context(), w, files, TarOptions{Note: said.add}))
			got := inTar(t, &w.Buffer, t.TempDir())
			if len(got["big"]) != size+len("file ") || len(got) != len(files) {
				t.Errorf("the stream has %d bytes of it, and %d of %d files", len(got["big"]), len(got), len(files))
			}
			if len(said) != 1 || !strings.Contains(said["big"], "changed while it was read") {
				t.Errorf("what is said is %q", said)
			}
		})
	}
}

// TestWhatChangesAfterItIsListed: a path that is something else now. What a link leads to is
// never read in its place.
func TestWhatChangesAfterItIsListed(t *testing.T) {
	dir, outside := newRepo(t), t.TempDir()
	write(t, outside, "secret", "SECRET", "c", "SECRET")
	r := open(t, dir)
	files, err := r.Files(t.Context(), Select{})
	must(t, err)
	for _, name := range []string{"a", "gone", "run.sh", "empty", "dir/deep"} {
		must(t, os.RemoveAll(filepath.Join(dir, name)))
	}
	must(t, os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, "a")))
	must(t, syscall.Mkfifo(filepath.Join(dir, "run.sh"), 0o644))
	must(t, os.Mkdir(filepath.Join(dir, "empty"), 0o755))
	must(t, os.Symlink(outside, filepath.Join(dir, "dir/deep")))
	said := notes{}
	var stream bytes.Buffer
	must(t, r.WriteTar(t.Context(), &stream, files, TarOptions{Note: said.add}))
	if bytes.Contains(stream.Bytes(), []byte("SECRET")) {
		t.Error("what is behind a link shipped")
	}
	got := inTar(t, &stream, t.TempDir())
	if got["a"] != "link "+filepath.Join(outside, "secret") {
		t.Errorf("a is %q", got["a"])
	}
	for _, name := range []string{"gone", "run.sh", "empty", "dir/deep/c"} {
		if _, there := got[name]; there || said[name] == "" {
			t.Errorf("of %s is said %q, and it shipped: %v", name, said[name], there)
		}
	}
}

// TestWriteTarStops when its context ends or its writer fails.
func TestWriteTarStops(t *testing.T) {
	r := open(t, newRepo(t))
	files, err := r.Files(t.Context(), Select{})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	checkError(t, r.WriteTar(ctx, io.Discard, files, TarOptions{}), api.KindCanceled, "not all written", "")
	_, err = r.Files(ctx, Select{})
	checkError(t, err, api.KindCanceled, "stopped", "")
	reader, writer := io.Pipe()
	reader.CloseWithError(errors.New("the guest is gone"))
	if err := r.WriteTar(t.Context(), writer, files, TarOptions{}); err == nil || !strings.Contains(err.Error(), "the guest is gone") {
		t.Errorf("the error is %v", err)
	}
}

// TestFilesOfACommit: HEAD's files as a checkout writes them, whatever lies there.
func TestFilesOfACommit(t *testing.T) {
	dir := submodules(t)
	git(t, dir, "config", "filter.case.smudge", "tr a-z A-Z")
	git(t, dir, "config", "filter.case.clean", "tr A-Z a-z")
	git(t, dir, "config", "filter.unused.smudge", "false")
	git(t, dir, "config", "filter.unused.required", "true")
	write(t, dir, "dir/.gitattributes", "*.up filter=case\n*.crlf text eol=crlf\nb export-ignore\n", "dir/1.up", "up\n", "dir/x.crlf", "line\n", "dir/.0.up", "sorts before the attributes\n")
	git(t, dir, "add", "dir")
	git(t, dir, "commit", "-q", "-m", "attributes")
	clone := filepath.Join(t.TempDir(), "clone")
	git(t, dir, "-c", "filter.case.smudge=tr a-z A-Z", "clone", "-q", dir, clone)
	want := onDisk(t, clone)
	// What lies there now is as different as can be, its attributes, too.
	git(t, dir, "update-index", "--force-remove", "link")
	write(t, dir, "dir/.gitattributes", "* filter=unused\n", "dir/1.up", "edited\n", "untracked", "x\n")
	must(t, os.Remove(filepath.Join(dir, "run.sh")))
	r := open(t, dir)
	unchanged(t, dir, "shipping a commit", func() {
		_, got := ship(t, r, Select{Commit: true}, GitOptions{})
		for name, text := range want {
			if got[name] != text {
				t.Errorf("%s is %q, want %q", name, got[name], text)
			}
		}
		if got["dir/.0.up"] != "file SORTS BEFORE THE ATTRIBUTES\n" {
			t.Errorf("dir/.0.up is %q", got["dir/.0.up"])
		}
		if _, there := got["untracked"]; there || got["dir/1.up"] != "file UP\n" || got["dir/x.crlf"] != "file line\r\n" {
			t.Errorf("the stream has %q", got)
		}
		// Submodules at the commits of HEAD: without what was edited in them.
		if got["sub/a"] != "file one more\n" || got["sub/inner/run.sh"] != "exec #!/bin/sh\n" || got["subdir/clean/link"] != "link dir/b" {
			t.Errorf("the submodules have %q, %q, %q", got["sub/a"], got["sub/inner/run.sh"], got["subdir/clean/link"])
		}
		if _, there := got["sub/inner/new"]; there {
			t.Error("an untracked file of a submodule shipped")
		}
	})
}

// TestACommitOfASparseCheckout is HEAD's whole tree.
func TestACommitOfASparseCheckout(t *testing.T) {
	dir := sparse(t, "--cone", "--sparse-index")
	want := inCommit(t, dir, nil, "HEAD")
	unchanged(t, dir, "shipping a commit", func() {
		_, got := ship(t, open(t, dir), Select{Commit: true}, GitOptions{})
		compare(t, "the stream", got, want)
	})
}

// TestLFS: large files ship as they lie, and a snapshot has their pointers.
func TestLFS(t *testing.T) {
	if _, err := exec.LookPath("git-lfs"); err != nil {
		t.Skip("NOT RUN: git-lfs is not installed")
	}
	dir := newRepo(t)
	git(t, dir, "lfs", "install", "--local")
	git(t, dir, "lfs", "track", "*.bin")
	write(t, dir, "x.bin", "large\n")
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-q", "-m", "large")
	write(t, dir, "new.bin", "larger\n")
	r := open(t, dir)
	unchanged(t, dir, "LFS", func() {
		guest, got := ship(t, r, Select{}, GitOptions{})
		if got["x.bin"] != "file large\n" || got["new.bin"] != "file larger\n" {
			t.Errorf("the stream has %q", got)
		}
		if _, err := os.Stat(filepath.Join(guest, ".git/lfs")); err == nil {
			t.Error("objects of git-lfs shipped")
		}
		c, err := r.Snapshot(t.Context(), "dev", "x", Select{})
		must(t, err)
		if blob := git(t, dir, "cat-file", "blob", c.ID+":new.bin"); !strings.HasPrefix(blob, "version https://git-lfs") {
			t.Errorf("the snapshot has %q", blob)
		}
		if _, got := ship(t, r, Select{Commit: true}, GitOptions{}); got["x.bin"] != "file large\n" {
			t.Errorf("of the commit shipped %q", got["x.bin"])
		}
	})
	// Without git-lfs, pointers that lie there ship as they are.
	pointers := filepath.Join(t.TempDir(), "pointers")
	git(t, dir, "-c", "filter.lfs.smudge=", "-c", "filter.lfs.process=", "-c", "filter.lfs.required=false", "clone", "-q", dir, pointers)
	bare := t.TempDir() // a PATH with git alone
	for _, program := range []string{"git", "sh"} {
		full, err := exec.LookPath(program)
		must(t, err)
		must(t, os.Symlink(full, filepath.Join(bare, program)))
	}
	t.Setenv("PATH", bare)
	r = open(t, pointers)
	if _, got := ship(t, r, Select{}, GitOptions{}); !strings.HasPrefix(got["x.bin"], "file version https://git-lfs") {
		t.Errorf("the stream has %q", got["x.bin"])
	}
	if _, err := r.Snapshot(t.Context(), "dev", "x", Select{}); err != nil {
		t.Error(err)
	}
	// And a new large file in the other repository, whose config requires git-lfs, is an error.
	write(t, dir, "newer.bin", "x")
	_, err := open(t, dir).Snapshot(t.Context(), "dev", "x", Select{})
	checkError(t, err, api.KindInternal, "lfs", "")
}
