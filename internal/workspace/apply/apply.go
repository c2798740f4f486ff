// Package apply brings a guest's changes into the host's work tree, and takes the last time back.
// The index, branches and stash stay as they are.
//
// Nothing is lost: the work tree is recorded as a snapshot first, a file that changed on both
// sides is a conflict, and what is replaced is copied before. A file is replaced at once and only
// if it is still the one that was looked at.
package apply

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"banger/api"
	"banger/internal/faultpoint"
	"banger/internal/host/fsx"
	"banger/internal/workspace/objects"
)

// Repo is the host's repository (incoming.Repo).
type Repo interface {
	Top() string
	Git(ctx context.Context, env []string, stdin io.Reader, args ...string) ([]byte, error)
}

// Request says what is applied.
type Request struct {
	// Shipped is the snapshot that the guest was sent, and Guest the commit of an import.
	Shipped, Guest string
	// Snapshot records the work tree and returns the commit (gitrepo.Repo.Snapshot).
	Snapshot func(ctx context.Context) (string, error)
	// Dir is a directory of banger's for this work tree, in which Undo finds what was replaced.
	Dir string
	// Partial writes what has no conflict even if something has.
	Partial bool
}

// Conflict is a file that was not written, and why.
type Conflict struct{ Path, Reason string }

// Result is what Apply did.
type Result struct {
	Snapshot  string // the commit of the work tree as it was
	Written   []string
	Removed   []string
	Conflicts []Conflict
}

// Apply writes the difference between two commits to the work tree. If there are conflicts it
// writes nothing and returns an error of kind api.KindConflict, unless Partial is set; the result
// lists them in either case.
func Apply(ctx context.Context, repo Repo, r Request) (Result, error) {
	a := &applier{repo: repo, Request: r}
	unlock, err := lock(ctx, r.Dir)
	if err != nil {
		return Result{}, err
	}
	defer unlock()
	if a.tree, err = openTree(repo.Top()); err != nil {
		return Result{}, err
	}
	defer a.tree.close()
	if err := a.prepare(ctx); err != nil {
		return a.result, err
	}
	if len(a.result.Conflicts) > 0 && !r.Partial {
		return a.result, a.refusal()
	}
	if len(a.actions) == 0 {
		return a.result, nil
	}
	return a.result, a.perform(ctx)
}

// applier is the work of one Apply.
type applier struct {
	Request
	repo    Repo
	tree    *tree
	result  Result
	host    map[string]objects.Entry // the snapshot
	seen    map[string]stat          // of the files before the snapshot
	removed map[string]bool          // what is going to be removed
	actions []*action
	stage   string // the directory of the new journal, until it has its name
	// each is set if paths are changed each for itself: a change that fails is not taken back.
	each bool
}

// action is what is done to one path.
type action struct {
	path string
	to   objects.Entry // with no mode, the path is removed
	// after is what the path is going to be.
	after state
}

// prepare finds out what is to be done.
func (a *applier) prepare(ctx context.Context) error {
	if err := a.cleanUp(); err != nil {
		return err
	}
	changes, err := objects.Changes(ctx, a.repo, a.Shipped, a.Guest)
	if err != nil {
		return err
	}
	faultpoint.Reach("apply", "look")
	if err := a.look(ctx, changes); err != nil {
		return err
	}
	faultpoint.Reach("apply", "snapshot")
	if a.result.Snapshot, err = a.Snapshot(ctx); err != nil {
		return err
	}
	faultpoint.Reach("apply", "plan")
	if a.host, err = objects.Tree(ctx, a.repo, a.result.Snapshot); err != nil {
		return err
	}
	return a.plan(ctx, changes)
}

// cleanUp removes what a change that was killed left in the work tree.
func (a *applier) cleanUp() error {
	j, err := loadJournal(a.Dir)
	if err != nil || string(j.Top) != a.repo.Top() {
		return nil // there is nothing of this work tree
	}
	return j.removeTemporary(a.tree)
}

// perform does it: first everything is made ready, then the journal says what is going to change,
// then it changes.
func (a *applier) perform(ctx context.Context) error {
	j, err := a.ready(ctx)
	if err != nil {
		return err
	}
	for n, entry := range j.Entries {
		if err := a.write(ctx, j, n); err != nil {
			return a.rollback(j, err)
		}
		a.done(n, entry)
	}
	slices.Sort(a.result.Removed)
	slices.Sort(a.result.Written)
	return nil
}

// ready makes everything ready, up to the journal.
func (a *applier) ready(ctx context.Context) (j *journal, err error) {
	if a.stage, err = os.MkdirTemp(a.Dir, "stage-"); err != nil {
		return nil, err
	}
	defer os.RemoveAll(a.stage)
	faultpoint.Reach("apply", "stage")
	if err := a.writeContents(ctx); err != nil {
		return nil, err
	}
	faultpoint.Reach("apply", "copy")
	if j, err = a.writeJournal(); err == nil {
		faultpoint.Reach("apply", "write")
	}
	return j, err
}

// done notes that entry n was changed.
func (a *applier) done(n int, e entry) {
	faultpoint.Reach("apply", "written", fmt.Sprint(n))
	if e.New.Kind == kindAbsent {
		a.result.Removed = append(a.result.Removed, e.path())
	} else {
		a.result.Written = append(a.result.Written, e.path())
	}
}

// write changes one path, if it is still as it was seen.
func (a *applier) write(ctx context.Context, j *journal, n int) error {
	if err := ctx.Err(); err != nil {
		return api.Errorf(api.KindCanceled, "applying was stopped: %w", context.Cause(ctx))
	}
	entry := j.Entries[n]
	return a.tree.change(entry.path(), j.temporary(n), a.seen[entry.path()], entry.New, filepath.Join(a.Dir, journalDir, "new", fmt.Sprint(n)))
}

// rollback takes back what was written before something failed.
func (a *applier) rollback(j *journal, failed error) error {
	a.result.Written, a.result.Removed = nil, nil
	if _, err := j.restore(a.tree, a.Dir); err != nil {
		return api.Errorf(api.KindOf(failed), "%w; what was written until then cannot be taken back: %w", failed, err).WithHint("banger work undo")
	}
	if err := j.discard(a.Dir); err != nil {
		return errors.Join(failed, err)
	}
	return api.Errorf(api.KindOf(failed), "%w; nothing was changed", failed)
}

// maxListed is how many names an error lists.
const maxListed = 10

// refusal is the error of conflicts.
func (a *applier) refusal() error {
	var names []string
	for _, c := range a.result.Conflicts[:min(len(a.result.Conflicts), maxListed)] {
		names = append(names, fmt.Sprintf("%.100q: %s", c.Path, c.Reason))
	}
	if more := len(a.result.Conflicts) - maxListed; more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return api.Errorf(api.KindConflict, "nothing was written, because of conflicts:\n  %s", strings.Join(names, "\n  ")).
		WithHint("banger work apply --partial writes the others; or: banger work branch NAME, then git merge NAME")
}

// lock makes dir and keeps others from applying or undoing at the same time.
func lock(ctx context.Context, dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := fsx.Flock(ctx, f); err != nil {
		return nil, err
	}
	return func() { f.Close() }, nil
}
