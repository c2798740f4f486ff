package workspace

import (
	"context"
	"encoding/gob"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"banger/api"
	"banger/client"
	"banger/internal/faultpoint"
	"banger/internal/host/fsx"
	"banger/internal/workspace/gitrepo"
	"banger/internal/workspace/incoming"
	"banger/internal/workspace/objects"
	"banger/internal/workspace/setups"
	"banger/internal/workspace/treesync"
)

// Over is a finished setup whose image a VM was made from: its directory has the files of that time.
type Over struct {
	Setup setups.Setup
	Files setups.Files
}

// ShipOver is Ship to a VM that was made from the image of a finished setup. What the host has
// otherwise than at that time is written or removed, and the guest's .git is a fresh one. All else
// stays, with its times: what git ignores, and what the setup changed in files that are the same here.
func (w *Workspace) ShipOver(ctx context.Context, g SyncGuest, c Cargo, over Over) (Sent, error) {
	sent, err := w.ship(ctx, g, c, newRenewal(w, g, c, over))
	if err == nil {
		err = os.Remove(filepath.Join(w.vmDir(c.VM.ID), touchedFile))
	}
	return sent, err
}

// renewal is the work of one ShipOver. Nothing of what the guest says gets to the host's files: its
// names are only compared, and go back to it.
type renewal struct {
	w    *Workspace
	g    SyncGuest
	c    Cargo
	over Over

	before map[string]incoming.Entry // what was sent, as it was listed then
	files  map[string]bool           // what the host has now
	sent   map[string]bool           // of these, what is sent
	there  map[string]incoming.Entry // what the guest has
	// touched is what an earlier attempt may have changed.
	touched map[string]bool
}

func newRenewal(w *Workspace, g SyncGuest, c Cargo, over Over) *renewal {
	r := &renewal{w: w, g: g, c: c, over: over, before: map[string]incoming.Entry{}, files: map[string]bool{}, sent: map[string]bool{}}
	for _, e := range over.Files.Entries {
		if e.Type != incoming.TypeDir {
			r.before[e.Path] = e
		}
	}
	return r
}

// put sends what a commit has otherwise than the directory had, and removes what is gone.
func (r *renewal) put(commit string) func(context.Context, Guest, Cargo) (Sent, error) {
	return func(ctx context.Context, g Guest, c Cargo) (Sent, error) {
		selection := c.Select
		selection.Note = c.Note
		files, err := r.w.Repo.Files(ctx, selection)
		if err != nil {
			return Sent{}, err
		}
		tree, err := objects.Tree(ctx, r.w.Repo, commit)
		if err != nil {
			return Sent{}, err
		}
		if err := r.list(ctx); err != nil {
			return Sent{}, err
		}
		if err := r.loadTouched(); err != nil {
			return Sent{}, err
		}
		send := r.choose(files, tree)
		gone := r.gone(send)
		if err := r.saveTouched(gone); err != nil {
			return Sent{}, err
		}
		faultpoint.Reach("renew", "planned")
		if err := r.remove(ctx, gone); err != nil {
			return Sent{}, err
		}
		faultpoint.Reach("renew", "removed")
		return r.w.pack(ctx, g, c, send)
	}
}

// list lists what the guest has. If it has no such directory, all is sent.
func (r *renewal) list(ctx context.Context) error {
	r.there = map[string]incoming.Entry{}
	err := directory{guest: r.g, path: r.c.Directory}.Tree(ctx, func(e incoming.Entry) error {
		r.there[e.Path] = e
		return nil
	})
	if api.KindOf(err) == api.KindNotFound {
		r.before, err = map[string]incoming.Entry{}, nil
	}
	return err
}

// choose returns the files that are sent: those that are not in the directory as they are here, or
// whose content then is not known, such as those of submodules.
func (r *renewal) choose(files []gitrepo.File, tree map[string]objects.Entry) (send []gitrepo.File) {
	for _, f := range files {
		r.files[f.Path] = true
		now, tracked := tree[f.Path]
		_, had := r.before[f.Path]
		if had && tracked && now == r.over.Files.Tree[f.Path] && !r.touched[f.Path] {
			continue
		}
		r.sent[f.Path] = true
		send = append(send, f)
	}
	return send
}

// gone returns what is removed from the guest: files of then, and what is in the place of one of now.
func (r *renewal) gone(send []gitrepo.File) []incoming.Entry {
	gone := map[string]incoming.Entry{}
	take := func(name string) {
		if e, found := r.there[name]; found {
			gone[name] = e
		}
	}
	for _, names := range []map[string]bool{keys(r.before), r.touched} {
		for name := range names {
			if !r.files[name] && r.there[name].Type != incoming.TypeDir {
				take(name)
			}
		}
	}
	for _, f := range send {
		for dir := path.Dir(f.Path); dir != "."; dir = path.Dir(dir) {
			if r.there[dir].Type != incoming.TypeDir {
				take(dir)
			}
		}
		if isDir := r.there[f.Path].Type == incoming.TypeDir; isDir != f.Mode.IsDir() && (isDir || f.Mode.IsDir()) {
			r.below(f.Path, take)
		}
	}
	if r.there[gitDir].Type != incoming.TypeDir {
		take(gitDir)
	}
	return slices.Collect(maps.Values(gone))
}

// gitDir is the directory of the guest's repository.
const gitDir = ".git"

func keys(of map[string]incoming.Entry) map[string]bool {
	all := make(map[string]bool, len(of))
	for name := range of {
		all[name] = true
	}
	return all
}

// below calls take with a path and all that is below it.
func (r *renewal) below(name string, take func(string)) {
	for at := range r.there {
		if at == name || strings.HasPrefix(at, name+"/") {
			take(at)
		}
	}
}

// remove removes what is gone, and all of the guest's repository.
func (r *renewal) remove(ctx context.Context, gone []incoming.Entry) error {
	if err := r.removeFrom(ctx, r.c.Directory, gone); err != nil {
		return err
	}
	if r.there[gitDir].Type != incoming.TypeDir {
		return nil
	}
	git := path.Join(r.c.Directory, gitDir)
	var all []incoming.Entry
	err := r.g.Tree(ctx, git, client.TreeOptions{}, func(e client.TreeEntry) error {
		all = append(all, incoming.Entry(e))
		return nil
	})
	if err != nil {
		return err
	}
	return r.removeFrom(ctx, git, all)
}

// removeFrom removes what a directory of the guest was listed to have. What has changed since, stays.
func (r *renewal) removeFrom(ctx context.Context, dir string, gone []incoming.Entry) error {
	if len(gone) == 0 {
		return nil
	}
	// What is in a directory comes before it. The directory goes with the last file in it.
	slices.SortFunc(gone, func(a, b incoming.Entry) int { return strings.Compare(b.Path, a.Path) })
	changes := func(yield func(treesync.Change) bool) {
		for _, e := range gone {
			if !yield(treesync.Change{Path: e.Path, Expect: e}) {
				return
			}
		}
	}
	return r.g.Place(ctx, dir, changes, func(p treesync.Placed) error {
		if p.Err != nil && api.KindOf(p.Err) != api.KindConflict {
			return api.Errorf(api.KindOf(p.Err), "cannot remove %.100q of %s in VM %s: %w", p.Path, dir, r.c.VM.Name, p.Err)
		}
		return nil
	})
}

// known returns what a listing says of files whose content is that of the commit. Of a file that was not
// sent now it gives what it was before the setup, so that what the setup did to it is the guest's change.
func (r *renewal) known(now []incoming.Entry) (known []incoming.Entry) {
	listed := make(map[string]incoming.Entry, len(now))
	for _, e := range now {
		listed[e.Path] = e
		if r.sent[e.Path] {
			known = append(known, e)
		}
	}
	for name := range r.files {
		was, had := r.before[name]
		if r.sent[name] || !had {
			continue
		}
		// Another disk gives another inode and ctime.
		if e := listed[name]; e.Type == was.Type && e.Mode == was.Mode && e.Size == was.Size && e.MTime == was.MTime && e.Link == was.Link {
			was = e
		}
		known = append(known, was)
	}
	return known
}

// touchedFile has what an attempt was about to change: the next one writes it, too.
const touchedFile = "touched"

func (r *renewal) loadTouched() error {
	r.touched = map[string]bool{}
	f, err := os.Open(filepath.Join(r.w.vmDir(r.c.VM.ID), touchedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		defer f.Close()
		err = gob.NewDecoder(f).Decode(&r.touched)
	}
	if err != nil {
		return api.Errorf(api.KindInternal, "cannot read what was sent to the VM: %w", err).WithHint("banger up --new")
	}
	return nil
}

func (r *renewal) saveTouched(gone []incoming.Entry) error {
	maps.Copy(r.touched, r.sent)
	for _, e := range gone {
		r.touched[e.Path] = true
	}
	name := filepath.Join(r.w.vmDir(r.c.VM.ID), touchedFile)
	err := func() error {
		f, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		if err := errors.Join(gob.NewEncoder(f).Encode(r.touched), f.Sync(), f.Close()); err != nil {
			return err
		}
		return os.Rename(name+".new", name)
	}()
	return fsx.DiskError("record what is sent to the VM", err)
}
