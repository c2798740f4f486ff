package gitrepo

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"banger/api"
)

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
	old, err := r.Prune(t.Context(), "dev", 2, nil)
	must(t, err)
	all, err := r.Snapshots(t.Context(), "dev")
	must(t, err)
	if len(old) != 10 || len(all) != 2 || all[0].N != 11 || all[1].N != 12 {
		t.Errorf("pruned %v, left %v", old, all)
	}
	if next, err := r.Record(t.Context(), "dev", "HEAD~1"); err != nil || next != 13 {
		t.Errorf("the next is %d (%v)", next, err)
	}
	if all, err := r.Snapshots(t.Context(), "dev"); err != nil || len(all) != 3 || all[2].N != 13 || all[2].Message != "first" {
		t.Errorf("recorded are %+v (%v)", all, err)
	}
	if _, err := r.Prune(t.Context(), "dev", 0, nil); err != nil {
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
	_, err = r.Prune(t.Context(), "dev", -1, nil)
	checkError(t, err, api.KindInvalid, "-1", "")
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
