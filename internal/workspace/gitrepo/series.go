package gitrepo

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"banger/api"
)

// Commit is a commit of the series of a VM.
type Commit struct {
	ID, Tree string
	N        int    // from 1
	Ref      string // refs/banger/VM/N
	Message  string
	Time     time.Time // when it was made
}

// recorded is a Commit with what only this package looks at.
type recorded struct {
	Commit
	parents string // with spaces between them
}

// A VM's name is a component of a reference (git-check-ref-format(1)), and an id is one, too.
var vmName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func checkVM(vm string) error {
	if !vmName.MatchString(vm) {
		return api.Errorf(api.KindInvalid, "%.80q is not a valid name of a VM", vm)
	}
	return nil
}

func refs(vm string) string { return "refs/banger/" + vm + "/" }

// Snapshots lists the commits of the series of a VM, the oldest first.
func (r *Repo) Snapshots(ctx context.Context, vm string) ([]Commit, error) {
	if err := checkVM(vm); err != nil {
		return nil, err
	}
	series, err := r.series(ctx, vm)
	commits := make([]Commit, 0, len(series))
	for _, c := range series {
		commits = append(commits, c.Commit)
	}
	return commits, err
}

// fields are those of a commit in the output of git for-each-ref. A message has no NUL.
const fields = "%(refname)%00%(objectname)%00%(tree)%00%(parent)%00%(committerdate:unix)%00%(contents)%00"

// series lists the references whose last component is a number; another is not of banger's.
func (r *Repo) series(ctx context.Context, vm string) ([]recorded, error) {
	out, err := r.Git(ctx, nil, nil, "for-each-ref", "--format="+fields, refs(vm))
	if err != nil {
		return nil, err
	}
	var all []recorded
	parts := strings.Split(string(out), "\x00")
	for ; len(parts) > 6; parts = parts[6:] {
		ref := strings.TrimPrefix(parts[0], "\n")
		n, err := strconv.Atoi(strings.TrimPrefix(ref, refs(vm)))
		if err != nil || n < 1 || parts[2] == "" { // without a tree it is not a commit
			continue
		}
		seconds, _ := strconv.ParseInt(parts[4], 10, 64)
		all = append(all, recorded{
			Commit:  Commit{parts[1], parts[2], n, ref, strings.TrimRight(parts[5], "\n"), time.Unix(seconds, 0)},
			parents: parts[3],
		})
	}
	slices.SortFunc(all, func(a, b recorded) int { return a.N - b.N })
	return all, nil
}

// Record gives a commit that exists the next name of a VM's series, and returns its number.
func (r *Repo) Record(ctx context.Context, vm, commit string) (int, error) {
	if err := checkVM(vm); err != nil {
		return 0, err
	}
	id, err := r.line(ctx, "rev-parse", "-q", "--verify", "--end-of-options", commit+"^{commit}")
	if err != nil {
		return 0, api.Errorf(api.KindNotFound, "%s has no commit %.60q: %w", r.top, commit, err)
	}
	return claim(ctx, vm, []made{{r, id}})
}

// spoiled is how many numbers are passed over that are not taken and still cannot be had: a git
// that was killed leaves the lock of its reference behind.
const spoiled = 3

// claim gives commits the next number that is free in all of their repositories, and returns it.
// The last commit is named last: until then the others' references are nothing that anybody
// looks at.
func claim(ctx context.Context, vm string, commits []made) (int, error) {
	n, failed := 0, 0
	for {
		newest := 0
		for _, c := range commits {
			series, err := c.repo.series(ctx, vm)
			if err != nil {
				return 0, err
			}
			if k := len(series); k > 0 {
				newest = max(newest, series[k-1].N)
			}
		}
		if newest < n { // n itself could not be had
			failed++
		}
		n = max(n, newest) + 1
		err := createAll(ctx, fmt.Sprint(refs(vm), n), commits)
		if err == nil || failed == spoiled || !exited(err) {
			return n, err
		}
	}
}

// createAll makes a reference in each repository, or in none.
func createAll(ctx context.Context, ref string, commits []made) error {
	for i, c := range commits {
		_, err := c.repo.Git(ctx, nil, nil, "update-ref", ref, c.id, c.repo.zero())
		if err == nil {
			continue
		}
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		for _, c := range commits[:i] {
			_, _ = c.repo.Git(undo, nil, nil, "update-ref", "-d", ref, c.id) // one that stays is a name too many
		}
		return err
	}
	return nil
}

// Prune removes the oldest names of a VM's series, of which keep stay, and returns them. Those of
// the commits in needed stay, too. With own, only commits of which it reports true count. In the
// repositories of submodules that are there the same names are removed. Git removes the objects
// when nothing else refers to them (git-gc(1)).
func (r *Repo) Prune(ctx context.Context, vm string, keep int, own func(Commit) bool, needed ...string) ([]Commit, error) {
	if keep < 0 {
		return nil, api.Errorf(api.KindInvalid, "cannot keep %d snapshots", keep)
	}
	all, err := r.Snapshots(ctx, vm)
	if own != nil {
		all = slices.DeleteFunc(all, func(c Commit) bool { return !own(c) })
	}
	if err != nil || len(all) <= keep {
		return nil, err
	}
	old := slices.DeleteFunc(slices.Clone(all[:len(all)-keep]), func(c Commit) bool { return slices.Contains(needed, c.ID) })
	repos, err := r.WithModules(ctx)
	if err != nil {
		return nil, err
	}
	for _, repo := range repos {
		series, err := repo.series(ctx, vm)
		if err != nil {
			return nil, err
		}
		var lines bytes.Buffer
		for _, c := range series {
			if slices.ContainsFunc(old, func(o Commit) bool { return o.N == c.N }) {
				fmt.Fprintf(&lines, "delete %s %s\n", c.Ref, c.ID)
			}
		}
		if _, err := repo.Git(ctx, nil, &lines, "update-ref", "--stdin"); err != nil {
			return nil, err
		}
	}
	return old, nil
}

// WithModules returns the repositories of all submodules, and this one as the last.
func (r *Repo) WithModules(ctx context.Context) ([]*Repo, error) {
	s := newScan(r)
	s.changed = map[string]bool{} // no file is looked at
	if err := s.tracked(ctx); err != nil {
		return nil, err
	}
	var all []*Repo
	for _, m := range s.modules {
		inner, err := m.repo.WithModules(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, inner...)
	}
	return append(all, r), nil
}
