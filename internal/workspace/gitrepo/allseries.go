package gitrepo

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Series is what a repository has of one VM.
type Series struct {
	VM        string // the name that it had
	Snapshots int
	Others    int       // names of commits that were fetched
	Newest    time.Time // of its commits
}

// AllSeries lists the series in the repository, by the names of the VMs. A reference that is not
// one of banger's counts for none.
func (r *Repo) AllSeries(ctx context.Context) ([]Series, error) {
	out, err := r.Git(ctx, nil, nil, "for-each-ref", "--format=%(committerdate:unix) %(refname)", "refs/banger/")
	if err != nil {
		return nil, err
	}
	found := map[string]Series{}
	for line := range strings.Lines(string(out)) {
		made, ref, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		vm, rest, _ := strings.Cut(strings.TrimPrefix(ref, "refs/banger/"), "/")
		if checkVM(vm) != nil || !ownName(rest) {
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
	all := make([]Series, 0, len(found))
	for _, s := range found {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Series) int { return strings.Compare(a.VM, b.VM) })
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

// RemoveSeries removes the whole series of a VM, also in the repositories of submodules that are
// there, and returns the names. Other references stay.
func (r *Repo) RemoveSeries(ctx context.Context, vm string) ([]string, error) {
	if err := checkVM(vm); err != nil {
		return nil, err
	}
	repos, err := r.withModules(ctx)
	if err != nil {
		return nil, err
	}
	var removed []string
	for _, repo := range repos { // this one is the last: until then the next RemoveSeries finds it
		if removed, err = repo.removeOwn(ctx, vm); err != nil {
			return nil, err
		}
	}
	return removed, nil
}

func (r *Repo) removeOwn(ctx context.Context, vm string) ([]string, error) {
	out, err := r.Git(ctx, nil, nil, "for-each-ref", "--sort=version:refname", "--format=%(objectname) %(refname)", refs(vm))
	if err != nil {
		return nil, err
	}
	var commands strings.Builder
	var names []string
	for line := range strings.Lines(string(out)) {
		id, ref, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if ownName(strings.TrimPrefix(ref, refs(vm))) {
			names = append(names, ref)
			commands.WriteString("delete " + ref + " " + id + "\n")
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	_, err = r.Git(ctx, nil, strings.NewReader(commands.String()), "update-ref", "--no-deref", "--stdin")
	return names, err
}
