package workspace

import (
	"cmp"
	"context"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"banger/api"
	"banger/internal/workspace/gitrepo"
	"banger/internal/workspace/incoming"
	"banger/internal/workspace/objects"
	"banger/internal/workspace/partial"
	"banger/internal/workspace/treesync"
)

// SyncGuest is a Guest in which files can be written one by one.
type SyncGuest interface {
	Guest
	// Place is treesync.Guest's, in a directory.
	Place(ctx context.Context, dir string, changes iter.Seq[treesync.Change], each func(treesync.Placed) error) error
}

// Changes are the directories of a guest in which something changed while it was watched.
type Changes = partial.Changes

// Conflict is a path that a sync leaves alone on both sides, and why.
type Conflict = treesync.Conflict

// SyncRequest says how both sides become the same.
type SyncRequest struct {
	// Keep says which version wins if both sides changed a path: "host", "guest", or "" for
	// neither: then it is a conflict, and stays as it is on both.
	Keep string
	// All syncs what is not committed even if HEAD's tree alone was sent, now and from now on.
	All bool
	// Snapshots is how many of those that syncs make stay, besides the ones that are needed; 200
	// if it is 0.
	Snapshots int
	// Changes, unless nil, says where in the guest something changed since the last pass, and nothing
	// else is looked at there.
	Changes *Changes
}

// SyncResult is what one pass did. After an error, it is what was done until then.
type SyncResult struct {
	// ToGuest and ToHost are the paths that were written or removed there, sorted.
	ToGuest, ToHost []string
	Conflicts       []Conflict // sorted by path
	Agreed          int        // paths that had changed and are the same now
	// Again is set if a file changed meanwhile, so that another pass has work.
	Again    bool
	Warnings []incoming.Warning
}

// syncMark begins the messages of the commits that a sync makes.
const syncMark = "sync: "

// syncKept is how many of them stay by default: some hours of edits.
const syncKept = 200

// Sync makes the work tree and the files of the guest the same, in one pass. The caller has the
// lock of the workspace.
func (w *Workspace) Sync(ctx context.Context, g SyncGuest, s Shipment, r SyncRequest) (SyncResult, error) {
	result, err := w.sync(ctx, g, s, r)
	if r.Changes != nil && (err != nil || result.Again) {
		r.Changes.Failed()
	}
	return result, err
}

func (w *Workspace) sync(ctx context.Context, g SyncGuest, s Shipment, r SyncRequest) (SyncResult, error) {
	switch r.Keep {
	case "", treesync.KeepHost, treesync.KeepGuest:
	default:
		return SyncResult{}, api.Errorf(api.KindInvalid, "cannot keep %.40q: it is host or guest", r.Keep)
	}
	s, known, err := w.Shipment(s.VM) // the last pass may have changed it
	if err == nil && (!known || !s.Done) {
		err = api.Errorf(api.KindConflict, "cannot sync: the files have not been sent to the VM").WithHint("banger up")
	}
	if err == nil && r.All && s.Committed {
		s.Committed = false
		err = w.Save(s)
	}
	if err = cmp.Or(err, s.CheckSync()); err != nil {
		return SyncResult{}, err
	}
	included, err := gitrepo.Select{IncludeIgnored: s.Ignored}.Included()
	if err != nil {
		return SyncResult{}, err
	}
	repo := objects.Remember(w.Repo)
	if r.Changes != nil && r.Changes.Known() { // while the guest lists its files
		defer repo.Ahead(ctx, s.Commit, s.Agreed())()
	}
	collected, err := w.collectSynced(ctx, g, s, repo, included, r.Changes)
	if err != nil {
		return SyncResult{}, err
	}
	done, err := treesync.Run(ctx, repo, synced{directory{guest: g, path: s.Directory}, g}, treesync.Request{
		Base: s.Agreed(), Pending: s.Pending, Guest: collected, Shipped: s.Commit, Keep: r.Keep, Dir: filepath.Join(w.vmDir(s.VM), "sync"),
		Included: included, Record: w.record(s), About: about,
		Begin: func(base string, p treesync.Pending) error {
			if base != s.Agreed() {
				s.agree(base)
			}
			s.Pending = &p
			return w.Save(s)
		},
		Snapshot: func(ctx context.Context) (string, error) {
			c, err := w.Repo.Snapshot(ctx, s.Series, about("the files here"), gitrepo.Select{IncludeIgnored: s.Ignored, Any: true})
			return c.ID, err
		},
	})
	if saved := w.saveSync(context.WithoutCancel(ctx), s, collected, done, cmp.Or(r.Snapshots, syncKept)); err == nil {
		err = saved
	}
	return SyncResult{
		ToGuest: done.ToGuest, ToHost: done.ToHost, Conflicts: done.Conflicts, Agreed: done.Agreed, Again: done.Again,
		Warnings: append(collected.Warnings, done.Warnings...),
	}, w.diskError("sync", err)
}

func about(what string) string { return syncMark + what }

// Agreed is the commit in which both sides agreed last. What was applied is in the work tree, and
// what was sent is in the guest.
func (s Shipment) Agreed() string {
	if s.Synced != "" {
		return s.Synced
	}
	return s.Base()
}

// agree notes that both sides agree in a commit.
func (s *Shipment) agree(commit string) { s.Synced, s.Applied, s.Before = commit, commit, commit }

// collectSynced is Collect for a sync: what both sides have agreed on is not ignored.
func (w *Workspace) collectSynced(ctx context.Context, g Guest, s Shipment, repo incoming.Repo, included func(string) bool, changes *partial.Changes) (incoming.Result, error) {
	tree := sync.OnceValues(func() (map[string]objects.Entry, error) { return objects.Tree(ctx, repo, s.Agreed()) })
	var failed error
	tracked := func(name string) bool {
		all, err := tree()
		failed = err
		return all[name].Mode != "" || included(name)
	}
	result, err := w.collect(ctx, g, s, repo, incoming.Request{Tracked: tracked, Any: true, Message: about("the files of VM " + s.Series)}, changes)
	return result, cmp.Or(err, failed)
}

// saveSync records what a pass did.
func (w *Workspace) saveSync(ctx context.Context, s Shipment, before incoming.Result, done treesync.Result, keep int) error {
	if done.Last.Commit != before.Commit || len(done.ToGuest) > 0 {
		if err := w.saveState(s.VM, lastFile, done.Last); err != nil {
			return err
		}
	}
	pending := s.Pending
	if done.Recorded {
		pending = nil
	}
	if done.Host == "" || done.Base == s.Synced && slices.Equal(done.Conflicts, s.Conflicts) && pending == s.Pending {
		return nil
	}
	s.agree(done.Base)
	s.Conflicts, s.Pending = done.Conflicts, pending
	if err := w.Save(s); err != nil {
		return err
	}
	own := func(c gitrepo.Commit) bool { return strings.HasPrefix(c.Message, syncMark) }
	_, err := w.Repo.Prune(ctx, s.Series, keep, own, append(w.needed(s), done.Host)...)
	return err
}

// synced is the directory of a guest's files, for writing, too.
type synced struct {
	directory
	guest SyncGuest
}

// Place writes to it.
func (d synced) Place(ctx context.Context, changes iter.Seq[treesync.Change], each func(treesync.Placed) error) error {
	return d.guest.Place(ctx, d.path, changes, each)
}
