package workspace

import (
	"context"
	"io"
	"time"

	"banger/api"
	"banger/client"
	"banger/internal/workspace/incoming"
)

// directory is the directory of a guest's files.
type directory struct {
	guest Guest
	path  string
}

// Tree lists it. The guest's repositories are not looked at.
func (d directory) Tree(ctx context.Context, each func(incoming.Entry) error) error {
	o := client.TreeOptions{Skip: []string{".git"}}
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
	return w.collect(ctx, g, s, incoming.Request{})
}

// collect is Collect with what r asks for besides.
func (w *Workspace) collect(ctx context.Context, g Guest, s Shipment, r incoming.Request) (incoming.Result, error) {
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
	result, err := incoming.Import(ctx, w.Repo, directory{g, s.Directory}, r)
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
