package treesync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"

	"banger/api"
	"banger/internal/faultpoint"
	"banger/internal/workspace/incoming"
	"banger/internal/workspace/objects"
)

// writeHost writes what the guest changed to the work tree.
func (p *pass) writeHost(ctx context.Context) error {
	if len(p.toHost) == 0 {
		return nil
	}
	changes := make([]objects.Change, len(p.toHost))
	for n, i := range p.toHost {
		changes[n] = objects.Change{Path: i.path, Old: i.host, New: i.guest}
	}
	b, err := p.host.Write(ctx, p.snap, changes)
	for _, c := range b.Conflicts {
		p.conflict(p.items[c.Path], c.Reason)
	}
	p.result.ToHost = slices.Concat(b.Written, b.Removed)
	for _, name := range p.result.ToHost {
		p.next[name] = p.items[name].guest
	}
	// The files are the same, whatever git makes of either: the host's attributes count.
	for _, name := range b.Same {
		p.next[name], p.there[name] = p.items[name].host, p.items[name].host
	}
	p.result.Again = p.result.Again || len(b.Changed) > 0
	return err
}

// writeGuest writes what the host changed to the guest.
func (p *pass) writeGuest(ctx context.Context) error {
	p.toGuest = slices.DeleteFunc(p.toGuest, func(i *item) bool {
		gone := i.host.Mode == "" && p.listing[i.path] == nil // it is not in the guest as it is
		if gone {
			p.next[i.path], p.there[i.path] = objects.Entry{}, objects.Entry{}
		}
		return gone
	})
	if len(p.toGuest) == 0 {
		return nil
	}
	s, err := p.stage(ctx)
	if err != nil {
		return err
	}
	defer os.RemoveAll(s.dir)
	faultpoint.Reach("sync", "staged")
	var failed error
	err = p.guest.Place(ctx, p.changesOf(s), func(placed Placed) error {
		faultpoint.Reach("sync", "placed", placed.Path)
		failed = errors.Join(failed, p.take(placed))
		return nil
	})
	return errors.Join(err, failed)
}

// changesOf yields what the guest is to do, removals first: others may need their place.
func (p *pass) changesOf(s *stage) iter.Seq[Change] {
	return func(yield func(Change) bool) {
		for _, removing := range []bool{true, false} {
			for _, i := range p.toGuest {
				if (i.host.Mode == "") != removing {
					continue
				}
				c := Change{Path: i.path, Expect: p.expect(i.path)}
				if !removing && !s.fill(i, &c) {
					continue // it was changed meanwhile
				}
				if !yield(c) {
					return
				}
			}
			for _, e := range p.empty {
				if removing && !yield(Change{Path: e.Path, Expect: *e}) {
					return
				}
			}
		}
	}
}

// expect is what the guest has at a path. A directory is there only if nothing is in it: any other
// goes with its last file.
func (p *pass) expect(name string) incoming.Entry {
	if e := p.listing[name]; e != nil {
		return *e
	}
	if d := p.dirs[name]; d != nil && d.entry != nil && d.files == 0 && d.inner == 0 {
		return *d.entry
	}
	return incoming.Entry{}
}

// take notes what became of a change. The error is not of this path alone.
func (p *pass) take(placed Placed) error {
	i := p.items[placed.Path]
	if slices.ContainsFunc(p.empty, func(e *incoming.Entry) bool { return e.Path == placed.Path }) {
		return nil
	}
	if i == nil {
		return api.Errorf(api.KindInternal, "the guest answers of %.100q, which is not of this pass", placed.Path)
	}
	switch kind := api.KindOf(placed.Err); {
	case placed.Err == nil:
		p.placed = append(p.placed, placed)
		p.next[i.path], p.there[i.path] = i.host, i.host
		p.result.ToGuest = append(p.result.ToGuest, i.path)
	case kind == api.KindConflict:
		p.result.Again = true
	case kind == api.KindNoSpace, kind == api.KindCanceled:
		return api.Errorf(kind, "cannot write %.100q in the guest: %w", i.path, placed.Err)
	default:
		p.conflict(i, fmt.Sprintf("it cannot be written in the guest: %v", placed.Err))
	}
	return nil
}

// fill fills a change in from the stage.
func (s *stage) fill(i *item, c *Change) bool {
	f, staged := s.files[i.path]
	if !staged {
		return false
	}
	if i.host.Mode == objects.ModeLink {
		c.Type, c.Link = incoming.TypeLink, f.link
		return true
	}
	c.Type, c.Size, c.Mode = incoming.TypeFile, f.size, permissions(c.Expect, i.host.Mode == objects.ModeExec, f.mode)
	c.Open = func() (io.ReadCloser, error) { return os.Open(f.place) }
	return true
}

// permissions are those of the guest's file, or else of the host's, but for the right to execute it.
func permissions(guest incoming.Entry, exec bool, host uint32) uint32 {
	mode := host & 0o777
	if guest.Type == incoming.TypeFile {
		mode = guest.Mode & 0o7777
	}
	switch {
	case !exec:
		return mode &^ 0o111
	case mode&0o100 == 0:
		return mode | mode&0o444>>2
	}
	return mode
}
