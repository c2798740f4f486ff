package workspace

import (
	"context"
	"iter"

	"banger/client"
	"banger/internal/workspace/incoming"
	"banger/internal/workspace/treesync"
)

// VMGuest is the guest of a VM, for Sync.
type VMGuest struct{ *client.Guest }

// Place is client.Guest.Place.
func (g VMGuest) Place(ctx context.Context, dir string, changes iter.Seq[treesync.Change], each func(treesync.Placed) error) error {
	converted := func(yield func(client.TreeChange) bool) {
		for c := range changes {
			if !yield(client.TreeChange{
				Path: c.Path, Expect: client.TreeEntry(c.Expect), Type: c.Type, Mode: c.Mode, Size: c.Size, Link: c.Link, Open: c.Open,
			}) {
				return
			}
		}
	}
	return g.Guest.Place(ctx, dir, converted, func(p client.TreePlaced) error {
		return each(treesync.Placed{Path: p.Path, Entry: incoming.Entry(p.Entry), Err: p.Err})
	})
}
