package treesync

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"banger/internal/workspace/incoming"
	"banger/internal/workspace/objects"
)

// agree makes the commit in which both sides agree, and the guest's after what was placed. If one
// that is there has the same files, it is that one.
func (p *pass) agree(ctx context.Context) error {
	last, err := p.commit(ctx, p.Guest.Commit, p.after, p.About("the files of the VM"))
	if err != nil {
		return err
	}
	base, err := p.commit(ctx, p.Base, p.agreed, p.About("what both sides agree on"))
	if err != nil {
		return err
	}
	p.result.Base, p.result.Agreed, p.result.Recorded = base, len(p.next), true
	if len(p.placed) > 0 || last != p.Guest.Commit {
		p.result.Last = p.state(last)
	}
	return nil
}

// state is the guest's after what was placed.
func (p *pass) state(commit string) incoming.State {
	s := incoming.State{Commit: commit, Entries: p.entries(), Began: p.Guest.Began, Gaps: p.Guest.Gaps, Placed: map[string]bool{}}
	for name := range p.Guest.Placed {
		s.Placed[name] = true
	}
	s.Whole = p.Guest.Whole
	for _, placed := range p.placed {
		s.Placed[placed.Path] = placed.Entry.Type != ""
		s.Whole = s.Whole && !strings.EqualFold(path.Base(placed.Path), ".gitignore") // others count from now on
	}
	return s
}

// agreed is what both sides agree on at a path.
func (p *pass) agreed(i *item) objects.Entry {
	if e, new := p.next[i.path]; new {
		return e
	}
	return i.base
}

// after is what the guest has at a path.
func (p *pass) after(i *item) objects.Entry {
	if e, new := p.there[i.path]; new {
		return e
	}
	return i.guest
}

// commit returns a commit that has what of says for each path that one side changed, and the rest
// of from, which is one of the pass.
func (p *pass) commit(ctx context.Context, from string, of func(*item) objects.Entry, message string) (string, error) {
	same := map[string]bool{p.Base: true, p.Guest.Commit: true, p.snap: true}
	for _, i := range p.items {
		e := of(i)
		same[p.Base] = same[p.Base] && e == i.was
		same[p.Guest.Commit] = same[p.Guest.Commit] && e == i.guest
		same[p.snap] = same[p.snap] && e == i.host
	}
	for _, id := range []string{from, p.Base, p.Guest.Commit, p.snap} {
		if same[id] {
			return id, nil
		}
	}
	id, err := p.makeCommit(ctx, from, of, message)
	if err != nil {
		return "", err
	}
	return id, p.Record(ctx, id)
}

// identity is that of commits that are neither the host's nor the guest's.
var identity = []string{
	"GIT_AUTHOR_NAME=banger sync", "GIT_AUTHOR_EMAIL=host@banger.invalid", "GIT_COMMITTER_NAME=banger", "GIT_COMMITTER_EMAIL=host@banger.invalid",
}

func (p *pass) makeCommit(ctx context.Context, from string, of func(*item) objects.Entry, message string) (string, error) {
	var info strings.Builder
	for _, i := range p.items {
		if e := of(i); e.Mode == "" {
			fmt.Fprintf(&info, "0 %s\t%s\x00", strings.Repeat("0", len(p.Base)), i.path)
		}
	}
	for _, i := range p.items {
		if e := of(i); e.Mode != "" {
			fmt.Fprintf(&info, "%s %s\t%s\x00", e.Mode, e.ID, i.path)
		}
	}
	index, err := p.index()
	if err != nil {
		return "", err
	}
	defer index.remove()
	if _, err := p.repo.Git(ctx, index.env, nil, "read-tree", from); err != nil {
		return "", err
	}
	if _, err := p.repo.Git(ctx, index.env, strings.NewReader(info.String()), "update-index", "--add", "--replace", "-z", "--index-info"); err != nil {
		return "", err
	}
	tree, err := p.repo.Git(ctx, index.env, nil, "write-tree", "--missing-ok")
	if err != nil {
		return "", err
	}
	out, err := p.repo.Git(ctx, identity, strings.NewReader(message+"\n"), "commit-tree", strings.TrimSpace(string(tree)), "-p", p.Shipped)
	return strings.TrimSpace(string(out)), err
}

// entries are the guest's files after what was placed.
func (p *pass) entries() []incoming.Entry {
	if len(p.placed) == 0 {
		return p.Guest.Entries
	}
	now := make(map[string]incoming.Entry, len(p.placed))
	for _, placed := range p.placed {
		now[placed.Path] = placed.Entry
	}
	all := make([]incoming.Entry, 0, len(p.Guest.Entries)+len(p.placed))
	for _, e := range p.Guest.Entries {
		if _, changed := now[e.Path]; !changed {
			all = append(all, e)
		}
	}
	for _, e := range now {
		if e.Type != "" {
			all = append(all, e)
		}
	}
	return all
}

func (p *pass) sort() {
	slices.Sort(p.result.ToGuest)
	slices.Sort(p.result.ToHost)
	slices.SortFunc(p.result.Conflicts, func(a, b Conflict) int { return strings.Compare(a.Path, b.Path) })
}
