// Package series lists and removes all that a repository has below refs/banger of VMs, by their
// names.
package series

import (
	"context"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"banger/api"
)

// Repo is a repository of the host's (gitrepo.Repo).
type Repo interface {
	Git(ctx context.Context, env []string, stdin io.Reader, args ...string) ([]byte, error)
}

// vmName is a component of a reference (git-check-ref-format(1)).
var vmName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// Of is what a repository has of one VM.
type Of struct {
	VM        string // the name that it had
	Snapshots int
	Others    int       // names of commits that were fetched
	Newest    time.Time // of its commits
}

// All lists the series in the repository, by the names of the VMs. A reference that is not
// one of banger's counts for none.
func All(ctx context.Context, repo Repo) ([]Of, error) {
	out, err := repo.Git(ctx, nil, nil, "for-each-ref", "--format=%(committerdate:unix) %(refname)", "refs/banger/")
	if err != nil {
		return nil, err
	}
	found := map[string]Of{}
	for line := range strings.Lines(string(out)) {
		made, ref, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		vm, rest, _ := strings.Cut(strings.TrimPrefix(ref, "refs/banger/"), "/")
		if !vmName.MatchString(vm) || !ownName(rest) {
			continue
		}
		s := found[vm]
		s.VM = vm
		if isNumber(rest) {
			s.Snapshots++
		} else {
			s.Others++
		}
		seconds, _ := strconv.ParseInt(made, 10, 64)
		if at := time.Unix(seconds, 0); at.After(s.Newest) {
			s.Newest = at
		}
		found[vm] = s
	}
	all := make([]Of, 0, len(found))
	for _, s := range found {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Of) int { return strings.Compare(a.VM, b.VM) })
	return all, nil
}

// ownName reports whether the rest of a name below a VM's is banger's: a number, the number of a
// former commit, or a branch that was being fetched (package history).
func ownName(rest string) bool {
	kind, name, below := strings.Cut(rest, "/")
	return isNumber(rest) || below && (kind == "former" && isNumber(name) || kind == "incoming")
}

func isNumber(text string) bool {
	n, err := strconv.Atoi(text)
	return err == nil && n > 0 && strconv.Itoa(n) == text
}

// Remove removes the whole series of a VM in all of the repositories, and returns the names in the
// last one: until then another Remove finds the series there. Other references stay.
func Remove(ctx context.Context, vm string, repos ...Repo) (removed []string, err error) {
	if !vmName.MatchString(vm) {
		return nil, api.Errorf(api.KindInvalid, "%.80q is not a valid name of a VM", vm)
	}
	for _, repo := range repos {
		if removed, err = remove(ctx, repo, "refs/banger/"+vm+"/"); err != nil {
			return nil, err
		}
	}
	return removed, nil
}

func remove(ctx context.Context, repo Repo, prefix string) ([]string, error) {
	out, err := repo.Git(ctx, nil, nil, "for-each-ref", "--sort=version:refname", "--format=%(objectname) %(refname)", prefix)
	if err != nil {
		return nil, err
	}
	var commands strings.Builder
	var names []string
	for line := range strings.Lines(string(out)) {
		id, ref, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if ownName(strings.TrimPrefix(ref, prefix)) {
			names = append(names, ref)
			commands.WriteString("delete " + ref + " " + id + "\n")
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	_, err = repo.Git(ctx, nil, strings.NewReader(commands.String()), "update-ref", "--no-deref", "--stdin")
	return names, err
}
