package apply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"banger/api"
	"banger/internal/faultpoint"
)

// Undone is what Undo did.
type Undone struct {
	Snapshot string   // the commit of the work tree as it was
	Restored []string // files that are as they were before the last Apply
	Shipped  string   // of that Apply's Request; empty if an older banger made it
}

// Undo takes the last Apply back, one that was killed half way, too. dir is that of the Request,
// and snapshot records the work tree. If a file is not as Apply wrote it, nothing is changed and
// the error names it.
func Undo(ctx context.Context, repo Repo, dir string, snapshot func(context.Context) (string, error)) (Undone, error) {
	return UndoThen(ctx, repo, dir, snapshot, func(Undone) error { return nil })
}

// UndoThen is Undo, and calls then before the Apply is forgotten: until then another Undo repeats
// all of it.
func UndoThen(ctx context.Context, repo Repo, dir string, snapshot func(context.Context) (string, error), then func(Undone) error) (Undone, error) {
	unlock, err := lock(ctx, dir)
	if err != nil {
		return Undone{}, err
	}
	defer unlock()
	j, err := loadJournal(dir)
	if err != nil {
		return Undone{}, err
	}
	if string(j.Top) != repo.Top() {
		return Undone{}, api.Errorf(api.KindConflict, "cannot undo: the last time, changes were applied to %s", j.Top)
	}
	t, err := openTree(repo.Top())
	if err != nil {
		return Undone{}, err
	}
	defer t.close()
	if err := j.removeTemporary(t); err != nil {
		return Undone{}, err
	}
	if _, others, err := j.changed(t); err != nil || len(others) > 0 {
		return Undone{}, cmp.Or(err, refusal(others))
	}
	undone := Undone{Shipped: j.Shipped}
	faultpoint.Reach("undo", "snapshot")
	if undone.Snapshot, err = snapshot(ctx); err != nil {
		return undone, err
	}
	faultpoint.Reach("undo", "restore")
	if others, err := j.restore(t, dir); err != nil || len(others) > 0 {
		return undone, cmp.Or(err, refusal(others))
	}
	for _, e := range j.Entries {
		undone.Restored = append(undone.Restored, e.path())
	}
	slices.Sort(undone.Restored)
	faultpoint.Reach("undo", "restored")
	if err := then(undone); err != nil {
		return undone, err
	}
	faultpoint.Reach("undo", "recorded")
	return undone, j.discard(dir)
}

// changed returns the entries that have to be restored, with what is there now, and the paths
// that are neither as they were before nor as Apply made them.
func (j *journal) changed(t *tree) (found map[int]stat, others []string, err error) {
	found = map[int]stat{}
	for n, e := range j.Entries {
		now, s, err := t.stateOf(e.path(), "")
		switch {
		case errors.Is(err, errLink) && e.Old.Kind == kindAbsent && j.has(t.fileAbove(e.path())):
			// A link that Apply did not come to remove, or that is restored already.
		case errors.Is(err, errLink):
			others = append(others, e.path())
		case err != nil:
			return nil, nil, err
		case now.Kind == kindDir && j.ownDir(t, e.path()):
			// In the place of a file that Apply removed, or of one that it did not come to write.
			if e.Old.Kind != kindAbsent {
				found[n] = stat{}
			}
		case now == e.Old:
		case now == e.New && now.Kind == kindAbsent && !j.added(t.fileAbove(e.path())):
			others = append(others, e.path()) // somebody put a file where its directory was
		case now == e.New:
			found[n] = s
		default:
			others = append(others, e.path())
		}
	}
	slices.Sort(others)
	return found, others, nil
}

// refusal is the error of an Undo that would lose later changes.
func refusal(others []string) error {
	var names []string
	for _, name := range others[:min(len(others), maxListed)] {
		names = append(names, fmt.Sprintf("%.100q", name))
	}
	if more := len(others) - maxListed; more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return api.Errorf(api.KindConflict, "cannot undo: changed since they were applied: %s", strings.Join(names, ", ")).
		WithHint("banger work log lists the snapshots, of which git restore --source takes files")
}

// added reports whether Apply added a file, so that Undo removes it; "" is none.
func (j *journal) added(name string) bool {
	return name == "" || slices.ContainsFunc(j.Entries, func(e entry) bool { return e.path() == name && e.Old.Kind == kindAbsent })
}

// has reports whether a path is one of the journal's.
func (j *journal) has(name string) bool {
	return slices.ContainsFunc(j.Entries, func(e entry) bool { return e.path() == name })
}

// ownDir reports whether a directory has nothing but files of the journal.
func (j *journal) ownDir(t *tree, dir string) bool {
	own := map[string]bool{}
	for _, e := range j.Entries {
		own[e.path()] = true
	}
	return t.only(dir, own)
}

// restore restores what was before, except for the paths that it returns: somebody changed them.
// New files are removed first, since others may need their place.
func (j *journal) restore(t *tree, dir string) (others []string, err error) {
	if err := j.removeTemporary(t); err != nil {
		return nil, err
	}
	now, others, err := j.changed(t)
	if err != nil {
		return nil, err
	}
	for _, removing := range []bool{true, false} {
		for n, e := range j.Entries {
			s, found := now[n]
			if !found || (e.Old.Kind == kindAbsent) != removing {
				continue
			}
			if err := t.change(e.path(), j.temporary(n), s, e.Old, filepath.Join(dir, journalDir, "old", fmt.Sprint(n))); err != nil {
				return nil, err
			}
			faultpoint.Reach("undo", "changed", fmt.Sprint(n))
		}
	}
	return others, nil
}

// removeTemporary removes what a killed change left under temporary names.
func (j *journal) removeTemporary(t *tree) error {
	for n, e := range j.Entries {
		name := path.Join(path.Dir(e.path()), j.temporary(n))
		is, s, err := t.stateOf(name, "")
		if err != nil || is.Kind == kindAbsent {
			continue
		}
		at, _, err := t.stateOf(e.path(), "")
		switch {
		case err != nil:
		case at.Kind == kindAbsent && is == e.Old:
			err = t.rename(name, e.path()) // it was going to be removed
		case at == e.New && is != e.Old:
			// Somebody changed the file in the moment in which it was replaced: it stays.
		default:
			err = t.remove(name, j.temporary(n)+"x", s) // also one that was being written
		}
		if err != nil {
			return api.Errorf(api.KindInternal, "cannot clean up %.100q: %w", name, err)
		}
	}
	return nil
}
