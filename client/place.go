package client

import (
	"context"
	"io"
	"iter"

	"banger/internal/guest/manifest"
)

// TreeChange is what a path of a guest is to become.
type TreeChange struct {
	Path string // relative to the directory, clean, with slashes
	// Expect is what the path was when Tree listed it: if it is anything else by now, nothing is
	// done to it. A zero Type means that nothing is there. Type, Mode, Size, MTime, CTime, Inode
	// and Link are compared; of a directory Type and Inode, and it has to be empty.
	Expect TreeEntry
	Type   string // TreeFile or TreeLink; "" removes the path
	Mode   uint32 // of a file: the lower 12 bits of stat(2)'s st_mode
	Size   int64  // of a file's content, in bytes
	Link   string // a link's target
	// Open opens a file's content. If that has not Size bytes, or cannot be read, nothing is
	// done to the path.
	Open func() (io.ReadCloser, error)
}

// TreePlaced is what became of a TreeChange.
type TreePlaced struct {
	Path string
	// Entry is what Tree would list now; the zero value if the path was removed, or if there is
	// an Err.
	Entry TreeEntry
	// Err is why nothing was done: of kind conflict if the path is not what was expected, or if
	// its content changed while it was read here; of kind no_space if the guest's disk is full.
	Err error
}

// Place changes files and links below a directory of the guest, and follows no symbolic links
// there. It calls each with what became of one change after the other, in their order, when it
// is on the guest's disk. An error of each ends it and is returned. The changes are iterated by
// another goroutine, ahead of the results, for whose end Place waits.
//
// A change replaces a path at once or not at all: no program in the guest sees half a file. Missing
// directories are made, and those that a removal leaves empty are removed, as git does. What is
// new belongs to the owner and group of its directory; what replaces something, to that one's. If
// a guest is killed in the moment in which somebody else writes to the path, that one's version is
// found later, under a name that begins with banger-recovered-.
func (g *Guest) Place(ctx context.Context, dir string, changes iter.Seq[TreeChange], each func(TreePlaced) error) error {
	return g.agent.PlaceFiles(ctx, dir, func(yield func(manifest.Change) bool) {
		for c := range changes {
			if !yield(manifest.Change{
				Path: c.Path, Expect: manifest.Entry(c.Expect), Type: c.Type, Mode: c.Mode, Size: c.Size, Link: c.Link, Open: c.Open,
			}) {
				return
			}
		}
	}, func(p manifest.Placed) error { return each(TreePlaced{p.Path, TreeEntry(p.Entry), p.Err}) })
}
