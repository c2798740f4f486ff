package gitrepo

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// kind is a kind of repository.
type kind struct {
	name string
	make func(t *testing.T) string
	// inGit changes what lies there to what git stores of it.
	inGit func(contents)
	// guest are the paths that differ in the guest, if they are not those that git says here.
	guest []string
}

var kinds = []kind{
	{name: "clean", make: func(t *testing.T) string { return newRepo(t) }},
	{name: "dirty", make: dirtyRepo},
	{name: "detached", make: func(t *testing.T) string {
		dir := dirtyRepo(t)
		git(t, dir, "checkout", "-q", "--detach")
		return dir
	}},
	{name: "unborn", make: func(t *testing.T) string {
		dir := newRepo(t)
		must(t, os.RemoveAll(filepath.Join(dir, ".git")))
		git(t, dir, "init", "-q", "-b", "feature/x")
		git(t, dir, "add", "a")
		return dir
	}},
	{name: "unborn without an index", make: func(t *testing.T) string {
		dir := newRepo(t)
		must(t, os.RemoveAll(filepath.Join(dir, ".git")))
		git(t, dir, "init", "-q")
		return dir
	}},
	{name: "sha256", make: func(t *testing.T) string {
		dir := newRepo(t, "--object-format=sha256")
		dirty(t, dir)
		return dir
	}},
	{name: "index.lock held", make: func(t *testing.T) string {
		dir := dirtyRepo(t)
		write(t, dir, ".git/index.lock", "")
		return dir
	}},
	{name: "conflict", make: conflict},
	{name: "rebase half way", make: func(t *testing.T) string {
		dir := newRepo(t)
		write(t, dir, "a", "ours\n")
		git(t, dir, "commit", "-q", "-am", "ours")
		git(t, dir, "checkout", "-q", "-b", "other", "HEAD~1")
		write(t, dir, "a", "theirs\n")
		git(t, dir, "commit", "-q", "-am", "theirs")
		if _, err := tryGit(dir, "rebase", "main"); err == nil {
			t.Fatal("the rebase did not stop")
		}
		return dir
	}},
	{name: "stash", make: func(t *testing.T) string {
		dir := dirtyRepo(t)
		git(t, dir, "stash", "-q", "-u")
		write(t, dir, "a", "after the stash\n")
		return dir
	}},
	{name: "shallow", make: func(t *testing.T) string {
		from, dir := newRepo(t), filepath.Join(t.TempDir(), "shallow")
		git(t, from, "clone", "-q", "--depth=1", "file://"+from, dir)
		dirty(t, dir)
		return dir
	}},
	{name: "partial clone", make: func(t *testing.T) string { return partial(t) }},
	{name: "sparse partial clone", make: func(t *testing.T) string { return partial(t, "--sparse") }, inGit: func(c contents) {
		c["dir/b"], c["dir/deep/c"] = "file two\n", "file three\n"
	}},
	{name: "linked worktree", make: func(t *testing.T) string {
		from, dir := newRepo(t), filepath.Join(t.TempDir(), "linked")
		git(t, from, "worktree", "add", "-q", "-b", "side", dir)
		dirty(t, dir)
		return dir
	}},
	{name: "worktree of a bare repository", make: func(t *testing.T) string {
		from, bare, dir := newRepo(t), filepath.Join(t.TempDir(), "bare.git"), filepath.Join(t.TempDir(), "linked")
		git(t, from, "clone", "-q", "--bare", from, bare)
		git(t, bare, "worktree", "add", "-q", "-b", "side", dir)
		dirty(t, dir)
		return dir
	}},
	{name: "sparse", make: func(t *testing.T) string { return sparse(t, "--cone", "--no-sparse-index") }, inGit: outside},
	{name: "sparse index", make: func(t *testing.T) string { return sparse(t, "--cone", "--sparse-index") }, inGit: outside},
	{name: "sparse without a cone", make: func(t *testing.T) string { return sparse(t, "--no-cone", "--no-sparse-index") }, inGit: outside},
	{name: "present though sparse", make: func(t *testing.T) string {
		dir := sparse(t, "--cone", "--no-sparse-index")
		write(t, dir, "out/x", "made again\n", "out/y", "new\n")
		return dir
	}, inGit: outside},
	{name: "split index", make: func(t *testing.T) string {
		dir := newRepo(t)
		git(t, dir, "config", "core.splitIndex", "true")
		git(t, dir, "config", "splitIndex.maxPercentChange", "0")
		git(t, dir, "update-index", "--split-index")
		dirty(t, dir)
		return dir
	}},
	{name: "untracked cache", make: func(t *testing.T) string {
		dir := newRepo(t)
		git(t, dir, "config", "core.untrackedCache", "true")
		git(t, dir, "update-index", "--untracked-cache")
		git(t, dir, "status")
		dirty(t, dir)
		return dir
	}},
	{name: "programs in the config", make: programs},
	{name: "told not to look", make: func(t *testing.T) string {
		dir := newRepo(t)
		git(t, dir, "update-index", "--assume-unchanged", "a", "gone")
		git(t, dir, "update-index", "--skip-worktree", "dir/b")
		write(t, dir, "a", "secretly edited\n", "dir/b", "this, too\n")
		must(t, os.Remove(filepath.Join(dir, "gone")))
		return dir
	}, guest: []string{"a", "dir/b", "gone"}},
	{name: "intent to add", make: func(t *testing.T) string {
		dir := dirtyRepo(t)
		git(t, dir, "add", "-N", "new")
		return dir
	}},
	{name: "kinds of files change", make: func(t *testing.T) string {
		dir := newRepo(t)
		write(t, dir, "two/levels/f", "x\n")
		git(t, dir, "add", "two")
		git(t, dir, "commit", "-q", "-m", "two levels")
		must(t, os.Rename(filepath.Join(dir, "two"), filepath.Join(dir, "moved")))
		must(t, os.Symlink("moved", filepath.Join(dir, "two")))
		must(t, os.Remove(filepath.Join(dir, "a")))
		write(t, dir, "a/now/a/directory", "x\n", "elsewhere/c", "behind a link\n")
		must(t, os.RemoveAll(filepath.Join(dir, "dir/deep")))
		must(t, os.Symlink("../elsewhere", filepath.Join(dir, "dir/deep")))
		must(t, os.Remove(filepath.Join(dir, "link")))
		write(t, dir, "link", "a file now\n")
		must(t, os.Remove(filepath.Join(dir, "gone")))
		must(t, os.Mkdir(filepath.Join(dir, "gone"), 0o755))
		return dir
	}},
	{name: "line ends", make: func(t *testing.T) string {
		dir := newRepo(t)
		git(t, dir, "config", "core.autocrlf", "true")
		git(t, dir, "config", "core.safecrlf", "true")
		write(t, dir, "a", "one\r\ntwo\r\n", "mixed", "one\r\ntwo\n", "dir/b", "two\r\n")
		return dir
	}, inGit: func(c contents) {
		for name, text := range c {
			c[name] = strings.ReplaceAll(text, "\r\n", "\n")
		}
	}, guest: []string{"a", "mixed"}},
	{name: "submodules", make: submodules, guest: []string{"a", "gone", "sub", "subdir/clean", "told.txt"}},
	{name: "a submodule without a repository", make: func(t *testing.T) string {
		from, dir := submodules(t), filepath.Join(t.TempDir(), "clone")
		git(t, from, "clone", "-q", from, dir)
		return dir
	}},
	{name: "a submodule that is gone", make: func(t *testing.T) string {
		dir := submodules(t)
		must(t, os.RemoveAll(filepath.Join(dir, "sub")))
		must(t, os.RemoveAll(filepath.Join(dir, "subdir/clean")))
		write(t, dir, "subdir/clean", "a file in its place\n")
		return dir
	}},
	{name: "a name with newlines", make: func(t *testing.T) string {
		from, dir := newRepo(t), filepath.Join(t.TempDir(), "ein \"Ort\" %41\nmit Ümläuten\n")
		must(t, os.Rename(from, dir))
		dirty(t, dir)
		return dir
	}},
	{name: "hidden references", make: func(t *testing.T) string {
		dir := dirtyRepo(t)
		for _, setting := range []string{"transfer.hideRefs=refs/", "uploadpack.hideRefs=refs/heads", "uploadpack.allowTipSHA1InWant=false", "protocol.allow=never", "uploadpack.packObjectsHook=false"} {
			name, value, _ := strings.Cut(setting, "=")
			git(t, dir, "config", "--add", name, value)
		}
		return dir
	}},
}

func dirtyRepo(t *testing.T) string {
	dir := newRepo(t)
	dirty(t, dir)
	return dir
}
