package treesync

import (
	"context"

	"banger/internal/workspace/objects"
)

// mend finds out what a pass that was killed had written. If one side has what the other one had
// then, both agreed on that: what the other one has now is a change since.
func (p *pass) mend(ctx context.Context) error {
	p.mended = false
	if p.Pending == nil || len(p.items) == 0 {
		return nil
	}
	hosts, err := p.pending(ctx, p.Pending.Host)
	if err != nil {
		return err
	}
	guests, err := p.pending(ctx, p.Pending.Guest)
	if err != nil {
		return err
	}
	for name, i := range p.items {
		fromHost, host := hosts[name]
		fromGuest, guest := guests[name]
		toGuest, toHost := host && i.guest == fromHost, guest && i.host == fromGuest
		switch {
		case toGuest && toHost && fromHost != fromGuest: // each has the other's: that is no agreement
			continue
		case toGuest:
			i.base = fromHost
		case toHost:
			i.base = fromGuest
		}
		p.mended = p.mended || i.base != i.was
	}
	return nil
}

// pending returns what a commit of a pass that was killed has otherwise than the last agreement.
// If it was removed meanwhile, more conflicts are found, which is not wrong.
func (p *pass) pending(ctx context.Context, commit string) (map[string]objects.Entry, error) {
	changes, err := objects.Changes(ctx, p.repo, p.Base, commit)
	if err != nil {
		return nil, ctx.Err()
	}
	all := make(map[string]objects.Entry, len(changes))
	for _, c := range changes {
		all[c.Path] = c.New
	}
	return all, nil
}

// begin records what is going to be written. What is known of an earlier pass that was killed is
// in the agreement from then on.
func (p *pass) begin(ctx context.Context) error {
	if len(p.toHost)+len(p.toGuest) == 0 {
		return nil
	}
	if p.mended {
		base, err := p.commit(ctx, p.Base, p.agreed, p.About("what both sides agree on"))
		if err != nil {
			return err
		}
		p.Base, p.result.Base, p.mended = base, base, false
		for _, i := range p.items {
			i.was = p.agreed(i)
		}
	}
	return p.Begin(p.Base, Pending{Host: p.snap, Guest: p.Guest.Commit})
}
