package gitrepo

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"
)

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
		t.Skip("NOT RUN: git-lfs is missing: sudo apt-get install git-lfs")
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
