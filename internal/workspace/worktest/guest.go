package worktest

import (
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"banger/internal/workspace/incoming"
)

// Guest is the directory of a guest.
type Guest struct {
	Dir     string
	Fetched []string // names that were asked for
	// Failure is the error of the next call of Tree or Fetch.
	Failure error
}

// Tree lists the directory.
func (g *Guest) Tree(_ context.Context, each func(incoming.Entry) error) error {
	if g.Failure != nil {
		return g.Failure
	}
	return filepath.WalkDir(g.Dir, func(place string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(g.Dir, place)
		if err != nil || name == "." {
			return err
		}
		e, err := EntryOf(g.Dir, name)
		if err != nil {
			return err
		}
		return each(e)
	})
}

// Fetch reads files of the directory.
func (g *Guest) Fetch(_ context.Context, names []string, each func(string, io.Reader) error) error {
	if g.Failure != nil {
		return g.Failure
	}
	for _, name := range names {
		g.Fetched = append(g.Fetched, name)
		f, err := os.Open(filepath.Join(g.Dir, name))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return err
		}
		err = each(name, f)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// List returns the listing of the directory.
func (g *Guest) List() ([]incoming.Entry, error) {
	var all []incoming.Entry
	err := g.Tree(context.Background(), func(e incoming.Entry) error {
		all = append(all, e)
		return nil
	})
	return all, err
}
