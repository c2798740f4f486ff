package workspace

import (
	"context"
	"io"
	"time"

	"banger/api"
	"banger/client"
	"banger/internal/workspace/incoming"
	"banger/internal/workspace/partial"
)

// directory is the directory of a guest's files.
type directory struct {
	guest Guest
	path  string
	// last is what it had before, and changes says where something has changed since, or is nil.
	last    incoming.State
	changes *partial.Changes
}

// Tree lists it. The guest's repositories are not looked at.
func (d directory) Tree(ctx context.Context, each func(incoming.Entry) error) error {
	if d.changes != nil {
		if dirs, ok := d.changes.Take(); ok {
			if ok, err := partial.List(ctx, d.last, dirs, d.list, each); ok || err != nil {
				return err
			}
		}
	}
	return d.list(ctx, nil, each)
}

// list lists the entries of some directories, or all if there are none.
func (d directory) list(ctx context.Context, dirs []string, each func(incoming.Entry) error) error {
	o := client.TreeOptions{Skip: []string{".git"}, Only: dirs}
	return d.guest.Tree(ctx, d.path, o, func(e client.TreeEntry) error { return each(incoming.Entry(e)) })
}

// Fetch fetches contents; a file that is gone is left out.
func (d directory) Fetch(ctx context.Context, names []string, each func(string, io.Reader) error) error {
	return d.guest.Fetch(ctx, d.path, names, func(f client.FetchedFile) error {
		if api.KindOf(f.Err) == api.KindNotFound {
			return nil
		}
		if f.Err != nil {
			return f.Err
		}
		return each(f.Path, f.Content)
	})
}

// Collect makes a commit of the files that the guest of a VM has now, in the series of its
// snapshots. If nothing has changed, it returns the commit that there is.
func (w *Workspace) Collect(ctx context.Context, g Guest, s Shipment) (incoming.Result, error) {
	return w.collect(ctx, g, s, w.Repo, incoming.Request{}, nil)
}

// collect is Collect with what r asks for besides, on the repository, which is w.Repo. changes, unless
// nil, says where something changed.
func (w *Workspace) collect(ctx context.Context, g Guest, s Shipment, repo incoming.Repo, r incoming.Request, changes *partial.Changes) (incoming.Result, error) {
	r.VM, r.Shipped, r.Record = s.Series, incoming.State{Commit: s.Commit}, w.record(s)
	r.Sent = func() incoming.State {
		if shipped := w.loadState(s.VM, shippedFile); shipped.Commit == s.Commit {
			return shipped
		}
		return r.Shipped
	}
	last := w.loadState(s.VM, lastFile)
	if last.Commit != "" {
		r.Last = &last
	}
	began := time.Now().UnixNano() // a guest's clock follows the host's
	result, err := incoming.Import(ctx, repo, directory{g, s.Directory, last, changes}, r)
	if err != nil {
		return result, w.diskError("import the guest's files", err)
	}
	result.Began, result.Placed = began, last.StillPlaced(result.Entries)
	if result.Same { // the listing that is recorded proves the same, and to write it takes long
		return result, nil
	}
	return result, w.saveState(s.VM, lastFile, result.State)
}

// record names a commit of the series.
func (w *Workspace) record(s Shipment) func(context.Context, string) error {
	return func(ctx context.Context, commit string) error {
		_, err := w.Repo.Record(ctx, s.Series, commit)
		return err
	}
}
