package gitrepo

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"banger/api"
)

// TestSnapshotSeesARacyChange: a file that changed in the same instant as it was added, without
// changing its size, is found only by the time of the index.
func TestSnapshotSeesARacyChange(t *testing.T) {
	dir := newRepo(t)
	git(t, dir, "config", "core.trustctime", "false")
	when := time.Now().Add(-time.Hour)
	write(t, dir, "racy", "before")
	must(t, os.Chtimes(filepath.Join(dir, "racy"), when, when))
	git(t, dir, "add", "racy")
	write(t, dir, "racy", "after!")
	must(t, os.Chtimes(filepath.Join(dir, "racy"), when, when))
	must(t, os.Chtimes(filepath.Join(dir, ".git/index"), when, when))
	c, err := open(t, dir).Snapshot(t.Context(), "dev", "x", Select{})
	must(t, err)
	if got := git(t, dir, "cat-file", "blob", c.ID+":racy"); got != "after!" {
		t.Errorf("the snapshot has %q", got)
	}
}

// TestSnapshotFollowsChanges: a new one for each change, also for one of HEAD alone, as it is
// what later work is merged with.
func TestSnapshotFollowsChanges(t *testing.T) {
	dir := dirtyRepo(t)
	r := open(t, dir)
	take := func(want int, vm string) Commit {
		t.Helper()
		c, err := r.Snapshot(t.Context(), vm, "x", Select{})
		must(t, err)
		if c.N != want {
			t.Errorf("it has number %d, want %d", c.N, want)
		}
		return c
	}
	first := take(1, "dev")
	take(1, "dev")
	take(1, "other") // a series of its own
	git(t, dir, "add", "-A")
	take(1, "dev") // staging changes nothing that lies there
	git(t, dir, "commit", "-q", "-m", "third")
	if second := take(2, "dev"); second.Tree != first.Tree {
		t.Error("the tree changed with the commit")
	}
	must(t, os.Chmod(filepath.Join(dir, "a"), 0o755))
	take(3, "dev")
	write(t, dir, "ignored/big", "what is ignored changes\n")
	take(3, "dev")
}

// TestSnapshotOfACommit: HEAD's tree, whatever lies there.
func TestSnapshotOfACommit(t *testing.T) {
	dir := dirtyRepo(t)
	c, err := open(t, dir).Snapshot(t.Context(), "dev", "x", Select{Commit: true})
	must(t, err)
	if head := git(t, dir, "rev-parse", "HEAD^{tree}"); c.Tree != head {
		t.Errorf("the tree is %s, want %s", c.Tree, head)
	}
	unborn := t.TempDir()
	git(t, unborn, "init", "-q")
	r := open(t, unborn)
	_, err = r.Snapshot(t.Context(), "dev", "x", Select{Commit: true})
	checkError(t, err, api.KindInvalid, "has no commit yet", "git commit")
	_, err = r.Files(t.Context(), Select{Commit: true})
	checkError(t, err, api.KindInvalid, "has no commit yet", "git commit")
}

// TestADamagedHEAD is not taken for an unborn branch, whose snapshot would lack its history.
func TestADamagedHEAD(t *testing.T) {
	dir := newRepo(t)
	id := git(t, dir, "rev-parse", "HEAD")
	must(t, os.Remove(filepath.Join(dir, ".git/objects", id[:2], id[2:])))
	_, err := open(t, dir).Snapshot(t.Context(), "dev", "x", Select{})
	checkError(t, err, api.KindInvalid, "damaged", "fsck")
}

// TestSnapshotOfSubmodules: a submodule's is a commit in its own repository, with the same name;
// of a clean one it is HEAD. Pruning removes all of them.
func TestSnapshotOfSubmodules(t *testing.T) {
	dir := submodules(t)
	r := open(t, dir)
	c, err := r.Snapshot(t.Context(), "dev", "x", Select{})
	must(t, err)
	for _, sub := range []string{"sub", "sub/inner", "subdir/clean"} {
		id := git(t, filepath.Join(dir, sub), "rev-parse", "refs/banger/dev/1")
		above, name := dir, sub
		if sub == "sub/inner" {
			above, name = filepath.Join(dir, "sub"), "inner"
		}
		if got := git(t, above, "rev-parse", "refs/banger/dev/1:"+name); got != id {
			t.Errorf("the snapshot refers to %s of %s, whose reference is %s", got, sub, id)
		}
		head := git(t, filepath.Join(dir, sub), "rev-parse", "HEAD")
		if clean := sub == "subdir/clean"; clean != (id == head) {
			t.Errorf("the snapshot of %s is %s, HEAD is %s", sub, id, head)
		}
	}
	// The submodule has a series of its own, which is ahead: no name is given twice.
	sub, err := Open(t.Context(), filepath.Join(dir, "sub"), "")
	must(t, err)
	for range 3 {
		_, err = sub.Record(t.Context(), "dev", "HEAD")
		must(t, err)
	}
	write(t, dir, "a", "edited again\n")
	next, err := r.Snapshot(t.Context(), "dev", "another message", Select{})
	must(t, err)
	if next.N != 5 || git(t, dir, "rev-parse", next.ID+":sub") != git(t, dir, "rev-parse", c.ID+":sub") {
		t.Errorf("the next snapshot is %+v", next)
	}
	old, err := r.Prune(t.Context(), "dev", 1, nil)
	must(t, err)
	if len(old) != 1 || old[0].N != 1 {
		t.Errorf("pruned %+v", old)
	}
	if refs := git(t, filepath.Join(dir, "sub/inner"), "for-each-ref", "--format=%(refname)", "refs/banger"); refs != "refs/banger/dev/5" {
		t.Errorf("the submodule has %q", refs)
	}
}

// TestASubmoduleOutsideOfASparseCheckout stays in the tree, and is not removed in the guest.
func TestASubmoduleOutsideOfASparseCheckout(t *testing.T) {
	from, dir := submodules(t), filepath.Join(t.TempDir(), "clone")
	git(t, from, "clone", "-q", from, dir)
	git(t, dir, "sparse-checkout", "set", "--cone", "dir")
	must(t, os.RemoveAll(filepath.Join(dir, "subdir"))) // what git leaves of it is an empty directory
	r := open(t, dir)
	c, err := r.Snapshot(t.Context(), "dev", "x", Select{})
	must(t, err)
	if head := git(t, dir, "rev-parse", "HEAD^{tree}"); c.Tree != head {
		t.Errorf("the tree changed: %s", git(t, dir, "diff", "--name-status", "HEAD", c.ID))
	}
	guest, _ := ship(t, r, Select{}, GitOptions{})
	if changed := status(t, guest); len(changed) > 0 {
		t.Errorf("git in the guest says that these changed: %q", changed)
	}
}
