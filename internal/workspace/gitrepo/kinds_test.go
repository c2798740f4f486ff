package gitrepo

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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

// outside adds what a sparse checkout leaves out: it stays in the tree.
func outside(c contents) {
	for name, text := range map[string]string{"out/x": "outside\n", "out/z/w": "outside, too\n"} {
		if _, made := c[name]; !made {
			c[name] = fileText(0o644, text)
		}
	}
}

// partial lacks what only older commits have, and what is outside of a sparse checkout.
func partial(t *testing.T, flags ...string) string {
	from, dir := newRepo(t), filepath.Join(t.TempDir(), "partial")
	git(t, from, "config", "uploadpack.allowFilter", "true")
	git(t, from, slices.Concat([]string{"clone", "-q", "--filter=blob:none"}, flags, []string{"file://" + from, dir})...)
	write(t, dir, "a", "edited\n", "new", "x\n")
	return dir
}

func conflict(t *testing.T) string {
	dir := newRepo(t)
	git(t, dir, "checkout", "-q", "-b", "other")
	write(t, dir, "a", "theirs\n", "gone", "changed\n", "dir/b", "merged\n")
	git(t, dir, "commit", "-q", "-am", "theirs")
	git(t, dir, "checkout", "-q", "main")
	write(t, dir, "a", "ours\n")
	git(t, dir, "rm", "-q", "gone")
	git(t, dir, "commit", "-q", "-am", "ours")
	if _, err := tryGit(dir, "merge", "other"); err == nil {
		t.Fatal("there was no conflict")
	}
	return dir
}

func sparse(t *testing.T, flags ...string) string {
	dir := newRepo(t)
	write(t, dir, "out/x", "outside\n", "out/z/w", "outside, too\n")
	git(t, dir, "add", "out")
	git(t, dir, "commit", "-q", "-m", "outside")
	patterns := []string{"dir"}
	if slices.Contains(flags, "--no-cone") {
		patterns = []string{"/*", "!/out/"}
	}
	git(t, dir, slices.Concat([]string{"sparse-checkout", "set"}, flags, patterns)...)
	if _, err := os.Stat(filepath.Join(dir, "out")); err == nil {
		t.Fatal("the checkout is not sparse")
	}
	write(t, dir, "dir/b", "edited\n", "new", "x\n")
	return dir
}

// programs names programs wherever git would run one at a command of ours; each leaves a file.
func programs(t *testing.T) string {
	dir := dirtyRepo(t)
	for _, name := range []string{"fsmonitor", "hooks/reference-transaction", "hooks/post-index-change", "hooks/post-checkout"} {
		file := filepath.Join(dir, ".git", name)
		write(t, dir, ".git/"+name, "#!/bin/sh\necho ran >> \"$0.ran\"\n")
		must(t, os.Chmod(file, 0o755))
	}
	git(t, dir, "config", "core.fsmonitor", filepath.Join(dir, ".git/fsmonitor"))
	git(t, dir, "config", "core.logAllRefUpdates", "always")
	git(t, dir, "config", "user.useConfigOnly", "true")
	git(t, dir, "config", "commit.gpgSign", "true")
	git(t, dir, "config", "gc.auto", "1")
	git(t, dir, "config", "init.templateDir", filepath.Join(dir, "dir"))
	return dir
}

// submodules has a dirty one with one of its own, which is dirty, too, and a clean one.
func submodules(t *testing.T) string {
	inner, sub, dir := newRepo(t), newRepo(t), newRepo(t)
	git(t, sub, "submodule", "--quiet", "add", inner, "inner")
	git(t, sub, "commit", "-q", "-m", "a submodule")
	git(t, dir, "submodule", "--quiet", "add", "--name", "odd name", sub, "sub")
	git(t, dir, "submodule", "--quiet", "add", sub, "subdir/clean")
	git(t, dir, "commit", "-q", "-m", "submodules")
	git(t, dir, "submodule", "--quiet", "update", "--init", "--recursive")
	write(t, dir, "a", "edited\n", "told.txt", "x\n", "sub/a", "edited in a submodule\n", "sub/inner/new", "new in a submodule's submodule\n")
	must(t, os.Remove(filepath.Join(dir, "gone")))
	// A commit that no branch has.
	git(t, filepath.Join(dir, "subdir/clean"), "checkout", "-q", "--detach")
	git(t, filepath.Join(dir, "subdir/clean"), "commit", "-q", "--allow-empty", "-m", "detached")
	return dir
}

// TestKinds: whatever a repository is like, what ships and what is in a snapshot is what lies
// there; in the guest git says the same of it as here; and nothing of the user's changes.
func TestKinds(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			dir := k.make(t)
			r := open(t, dir)
			want := onDisk(t, dir)
			unchanged(t, dir, "shipping", func() { k.ships(t, r, want) })
			if k.inGit != nil {
				k.inGit(want)
			}
			unchanged(t, dir, "a snapshot", func() { k.snapshots(t, r, want) })
			unchanged(t, dir, "pruning", func() {
				if _, err := r.Prune(t.Context(), "dev", 1); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// ships checks the stream, and the repository in it.
func (k kind) ships(t *testing.T, r *Repo, want contents) {
	guest, got := ship(t, r, Select{}, GitOptions{})
	compare(t, "the stream", got, want)
	compare(t, "the guest", onDisk(t, guest), want)
	differs := k.guest
	if differs == nil {
		differs = status(t, r.Top())
	}
	if there := status(t, guest); !slices.Equal(there, differs) {
		t.Errorf("git in the guest says that these changed: %q, want %q", there, differs)
	}
	checkFresh(t, r, guest)
}

// checkFresh looks at the repository of a guest.
func checkFresh(t *testing.T, r *Repo, guest string) {
	t.Helper()
	git(t, guest, "fsck", "--strict", "--no-dangling")
	for _, args := range [][]string{{"rev-parse", "HEAD"}, {"symbolic-ref", "-q", "HEAD"}, {"rev-parse", "--show-object-format"}} {
		want, wantErr := tryGit(r.Top(), args...)
		got, err := tryGit(guest, args...)
		if got != want || (err == nil) != (wantErr == nil) {
			t.Errorf("git %v is %q (%v) in the guest, want %q (%v)", args, got, err, want, wantErr)
		}
	}
	// Every directory that tests of this process make has this in its path.
	base := []byte(filepath.Dir(filepath.Dir(t.TempDir())))
	must(t, filepath.WalkDir(guest, func(file string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(guest, file)
		if err != nil || d.IsDir() || !slices.Contains(strings.Split(name, "/"), ".git") {
			return err
		}
		data, err := os.ReadFile(file)
		if bytes.Contains(data, base) {
			t.Errorf("%s has a path of the host: %.300q", name, data)
		}
		if strings.Contains(name, "/hooks/") || strings.HasSuffix(name, "/alternates") || strings.Contains(name, "/logs/") || d.Type()&fs.ModeSymlink != 0 {
			t.Errorf("the guest's repository has %s", name)
		}
		return err
	}))
}

func (k kind) snapshots(t *testing.T, r *Repo, want contents) {
	ctx := context.Background()
	first, err := r.Snapshot(ctx, "dev", "first\n\nwith a body", Select{})
	must(t, err)
	compare(t, "the snapshot", inCommit(t, r.Top(), r.env, first.ID), want)
	if first.N != 1 || first.Ref != "refs/banger/dev/1" || first.Message != "first\n\nwith a body" || first.Time.IsZero() {
		t.Errorf("the snapshot is %+v", first)
	}
	again, err := r.Snapshot(ctx, "dev", "again", Select{})
	must(t, err)
	if again != first {
		t.Errorf("nothing changed, and the snapshot is %+v, was %+v", again, first)
	}
	recorded, err := r.Record(ctx, "dev", first.ID)
	must(t, err)
	if recorded.N != 2 || recorded.ID != first.ID {
		t.Errorf("recorded is %+v", recorded)
	}
	all, err := r.Snapshots(ctx, "dev")
	must(t, err)
	if !slices.Equal(all, []Commit{first, recorded}) {
		t.Errorf("the series is %+v", all)
	}
	parent, err := tryGit(r.Top(), "rev-parse", "-q", "--verify", "HEAD")
	if err == nil && git(t, r.Top(), "rev-parse", first.ID+"^") != parent {
		t.Error("the snapshot is not below HEAD")
	}
}
