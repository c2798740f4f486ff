package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"banger/api"
	"banger/internal/host/userns"
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

// TestTwoSnapshotsAtOnce: each gets a number of its own, as from several processes.
func TestTwoSnapshotsAtOnce(t *testing.T) {
	dir := newRepo(t)
	var work sync.WaitGroup
	var mu sync.Mutex
	var numbers []int
	for i := range 6 {
		name := fmt.Sprintf("ignored-%d", i)
		write(t, dir, name, "only in one of them\n")
		work.Go(func() {
			r, err := Open(context.Background(), dir, "")
			if err == nil {
				var c Commit
				if c, err = r.Snapshot(context.Background(), "dev", "x", Select{IncludeIgnored: []string{name}}); err == nil {
					mu.Lock()
					numbers = append(numbers, c.N)
					mu.Unlock()
					_, err = tryGit(dir, "cat-file", "-e", fmt.Sprintf("refs/banger/dev/%d:%s", c.N, name))
				}
			}
			if err != nil {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	work.Wait()
	slices.Sort(numbers)
	if !slices.Equal(numbers, []int{1, 2, 3, 4, 5, 6}) {
		t.Errorf("the numbers are %v", numbers)
	}
}

// TestALockThatIsLeft: of a git that was killed while it made a reference.
func TestALockThatIsLeft(t *testing.T) {
	dir := newRepo(t)
	write(t, dir, ".git/refs/banger/dev/1.lock", "")
	c, err := open(t, dir).Snapshot(t.Context(), "dev", "x", Select{})
	must(t, err)
	if c.N != 2 {
		t.Errorf("the number is %d", c.N)
	}
	// If no number can be had it ends.
	for n := 3; n < 10; n++ {
		write(t, dir, fmt.Sprintf(".git/refs/banger/dev/%d.lock", n), "")
	}
	write(t, dir, "a", "x\n")
	_, err = open(t, dir).Snapshot(t.Context(), "dev", "x", Select{})
	checkError(t, err, api.KindInternal, "refs/banger/dev/", "")
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
	old, err := r.Prune(t.Context(), "dev", 1)
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

// TestSeries: names are sorted as numbers, others are nobody's, and a number is not used again
// while a later one is there.
func TestSeries(t *testing.T) {
	dir := newRepo(t)
	r := open(t, dir)
	for range 12 {
		_, err := r.Record(t.Context(), "dev", "HEAD")
		must(t, err)
	}
	git(t, dir, "update-ref", "refs/banger/dev/named", "HEAD")
	git(t, dir, "update-ref", "refs/banger/dev/99", "HEAD^{tree}")
	git(t, dir, "update-ref", "refs/banger/devil/50", "HEAD")
	git(t, dir, "pack-refs", "--all")
	old, err := r.Prune(t.Context(), "dev", 2)
	must(t, err)
	all, err := r.Snapshots(t.Context(), "dev")
	must(t, err)
	if len(old) != 10 || len(all) != 2 || all[0].N != 11 || all[1].N != 12 {
		t.Errorf("pruned %v, left %v", old, all)
	}
	if next, err := r.Record(t.Context(), "dev", "HEAD~1"); err != nil || next.N != 13 || next.Message != "first" {
		t.Errorf("the next is %+v (%v)", next, err)
	}
	if _, err := r.Prune(t.Context(), "dev", 0); err != nil {
		t.Error(err)
	}
	if refs := git(t, dir, "for-each-ref", "--format=%(refname)", "refs/banger"); refs != "refs/banger/dev/99\nrefs/banger/dev/named\nrefs/banger/devil/50" {
		t.Errorf("left are %q", refs)
	}
	for _, vm := range []string{"", "../x", "a/b", "a.lock", "-x", "refs\n"} {
		_, err := r.Snapshots(t.Context(), vm)
		checkError(t, err, api.KindInvalid, "not a valid name", "")
	}
	_, err = r.Record(t.Context(), "dev", "--all")
	checkError(t, err, api.KindNotFound, "no commit", "")
	_, err = r.Prune(t.Context(), "dev", -1)
	checkError(t, err, api.KindInvalid, "-1", "")
}

// TestAFilterThatFails: what is required to work is an error, and leaves no snapshot. Another
// filter that fails leaves the file as it lies, as git itself does.
func TestAFilterThatFails(t *testing.T) {
	dir := newRepo(t)
	git(t, dir, "config", "filter.broken.clean", "echo it is broken >&2; exit 3")
	git(t, dir, "config", "filter.broken.required", "true")
	write(t, dir, ".gitattributes", "*.bin filter=broken\n", "x.bin", "content\n")
	r := open(t, dir)
	_, err := r.Snapshot(t.Context(), "dev", "x", Select{})
	checkError(t, err, api.KindInternal, "x.bin", "")
	checkError(t, err, api.KindInternal, "broken", "")
	if all, err := r.Snapshots(t.Context(), "dev"); err != nil || len(all) != 0 {
		t.Errorf("there is a snapshot: %v (%v)", all, err)
	}
	git(t, dir, "config", "filter.broken.required", "false")
	c, err := r.Snapshot(t.Context(), "dev", "x", Select{})
	must(t, err)
	if got := git(t, dir, "cat-file", "blob", c.ID+":x.bin"); got != "content" {
		t.Errorf("the snapshot has %q", got)
	}
}

// TestAFileThatChangesWhileItIsRead: git fails if a file changes or is cut while it reads it; the
// snapshot has one of its states in the end. A filter that fails twice stands for it.
func TestAFileThatChangesWhileItIsRead(t *testing.T) {
	dir := newRepo(t)
	count := filepath.Join(t.TempDir(), "count")
	git(t, dir, "config", "filter.twice.clean", `echo x >> '`+count+`'; test $(wc -l < '`+count+`') -gt 2 && cat`)
	git(t, dir, "config", "filter.twice.required", "true")
	write(t, dir, ".gitattributes", "*.bin filter=twice\n", "x.bin", "content\n")
	c, err := open(t, dir).Snapshot(t.Context(), "dev", "x", Select{})
	must(t, err)
	if got := git(t, dir, "cat-file", "blob", c.ID+":x.bin"); got != "content" {
		t.Errorf("the snapshot has %q", got)
	}
}

// TestAnUnreadableFile is named.
func TestAnUnreadableFile(t *testing.T) {
	dir := newRepo(t)
	write(t, dir, "secret", "x\n")
	must(t, os.Chmod(filepath.Join(dir, "secret"), 0))
	if os.Geteuid() == 0 {
		chownAll(t, dir)
	}
	out := asNobody(t, "snapshot", dir)
	if !strings.HasPrefix(out, "denied: ") || !strings.Contains(out, `"secret" cannot be read`) || !strings.Contains(out, ".gitignore") {
		t.Errorf("it says %s", out)
	}
	out = asNobody(t, "tar", dir)
	if !strings.HasPrefix(out, "denied: ") || !strings.Contains(out, "cannot read secret: permission denied") {
		t.Errorf("it says %s", out)
	}
	must(t, os.Chmod(filepath.Join(dir, "secret"), 0o600))
	if out := asNobody(t, "snapshot", dir); out != "1\n" {
		t.Errorf("it says %s", out)
	}
}

func chownAll(t *testing.T, dir string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(file string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(file, nobody, nobody))
	}))
}

// runRole is what asNobody runs.
func runRole() int {
	ctx := context.Background()
	r, err := Open(ctx, os.Args[1], "")
	if err == nil && os.Getenv(roleEnv) == "snapshot" {
		var c Commit
		if c, err = r.Snapshot(ctx, "dev", "x", Select{}); err == nil {
			fmt.Println(c.N)
		}
	} else if err == nil {
		var files []File
		if files, err = r.Files(ctx, Select{}); err == nil {
			err = r.WriteTar(ctx, &bytes.Buffer{}, files, TarOptions{})
		}
	}
	if err != nil {
		e := api.AsError(err)
		fmt.Printf("%s: %s; %s\n", e.Kind, e.Message, e.Hint)
	}
	return 0
}

const jobFullDisk = "test-full-disk"

// TestFullDisk: a full disk is said to be full, for objects and for the temporary index, and the
// next snapshot works.
func TestFullDisk(t *testing.T) {
	if err := userns.Run(t.Context(), userns.Call{Job: jobFullDisk, Args: []string{t.TempDir()}}); err != nil {
		t.Error(err)
	}
}

func runFullDisk(ctx context.Context, args []string, _ func(any)) error {
	dir := args[0]
	os.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	os.Setenv("HOME", dir)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		return err
	}
	if _, err := tryGit(dir, "init", "-q"); err != nil {
		return err
	}
	noise := make([]byte, 1<<20)
	for i, x := 0, uint32(1); i < len(noise); i++ {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	if err := os.WriteFile(filepath.Join(dir, "noise"), noise, 0o644); err != nil {
		return err
	}
	r, err := Open(ctx, dir, "")
	if err != nil {
		return err
	}
	_, err = r.Snapshot(ctx, "dev", "x", Select{})
	if api.KindOf(err) != api.KindNoSpace || api.AsError(err).Hint == "" {
		return fmt.Errorf("got %v, want an error of kind no_space with a hint", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "noise"), []byte("small"), 0o644); err != nil {
		return err
	}
	c, err := r.Snapshot(ctx, "dev", "x", Select{})
	if err == nil && c.N != 1 {
		err = fmt.Errorf("the number is %d", c.N)
	}
	return err
}
