package apply

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/workspace/objects"
	"banger/internal/workspace/treename"
)

// tick is longer than the clock of a file system takes for one step (CONFIG_HZ=100).
const tick = 20 * time.Millisecond

// look remembers the files as they are before the snapshot, so that a file that changes after it
// is known by its times. If one has changed just now, a change would not show in them yet.
func (a *applier) look(ctx context.Context, changes []objects.Change) error {
	a.seen = map[string]stat{}
	var newest int64
	for _, c := range changes {
		s, err := a.tree.lstat(c.Path)
		if err != nil && !missing(err) && !errors.Is(err, errLink) {
			return api.Errorf(api.KindInternal, "cannot look at %.100q: %w", c.Path, err)
		}
		a.seen[c.Path] = s
		newest = max(newest, s.ctime)
	}
	if age := time.Since(time.Unix(0, newest)); age >= 0 && age < tick {
		select {
		case <-time.After(tick - age):
		case <-ctx.Done():
			return api.Errorf(api.KindCanceled, "applying was stopped: %w", context.Cause(ctx))
		}
	}
	return nil
}

// plan decides for each change. Removals come first: others may need their place.
func (a *applier) plan(ctx context.Context, changes []objects.Change) error {
	a.removed = map[string]bool{}
	slices.SortStableFunc(changes, func(x, y objects.Change) int {
		return order(x.New.Mode != "") - order(y.New.Mode != "")
	})
	for _, c := range changes {
		act, reason, err := a.decide(ctx, c)
		switch {
		case err != nil:
			return err
		case reason != "":
			a.result.Conflicts = append(a.result.Conflicts, Conflict{c.Path, reason})
		case act != nil:
			if act.to.Mode == "" {
				a.removed[c.Path] = true
			}
			a.actions = append(a.actions, act)
		}
	}
	slices.SortFunc(a.result.Conflicts, func(x, y Conflict) int { return strings.Compare(x.Path, y.Path) })
	return nil
}

func order(later bool) int {
	if later {
		return 1
	}
	return 0
}

// decide returns what is to be done about a change, nil if the host has it already, or the reason
// of a conflict.
func (a *applier) decide(ctx context.Context, c objects.Change) (*action, string, error) {
	if err := treename.Check(c.Path, c.New.Mode == objects.ModeLink); err != nil {
		return nil, err.Error(), nil
	}
	here := a.host[c.Path]
	switch {
	case a.inModule(c.Path), here.Mode == objects.ModeModule, c.New.Mode == objects.ModeModule, c.Old.Mode == objects.ModeModule:
		return nil, "it belongs to another repository", nil
	case here == c.New:
		return nil, "", nil
	}
	if reason := a.inTheWay(c.Path, here); reason != "" {
		return nil, reason, nil
	}
	act := &action{path: c.Path, to: c.New}
	switch {
	case here == c.Old:
		return act, "", nil
	case a.each:
	case here.IsFile() && c.New.IsFile() && c.Old.IsFile():
		merged, err := a.merge(ctx, here, c)
		if err != nil || merged.ID == "" {
			return nil, "both sides changed the same lines", err
		}
		if merged == here {
			return nil, "", nil
		}
		act.to = merged
		return act, "", nil
	}
	return nil, Reason(here, c), nil
}

// Reason says why a change of the guest's is a conflict with what is here.
func Reason(here objects.Entry, c objects.Change) string {
	switch {
	case here.Mode == "":
		return "it was removed here and changed in the guest"
	case c.New.Mode == "":
		return "it was changed here and removed in the guest"
	case c.Old.Mode == "":
		return "it was added on both sides with different contents"
	}
	return "it was changed on both sides"
}

// inModule reports whether a path lies in a submodule of the host, or in another repository.
func (a *applier) inModule(name string) bool {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if a.host[dir].Mode == objects.ModeModule {
			return true
		}
	}
	return false
}

// inTheWay returns why a path cannot be written although the snapshot allows it: files that git
// ignores are in no snapshot, and count as changed.
func (a *applier) inTheWay(name string, here objects.Entry) string {
	s, err := a.tree.lstat(name)
	switch {
	case errors.Is(err, errLink):
		if link := a.tree.fileAbove(name); !a.removed[link] {
			return "a directory of its path is a symbolic link here"
		}
		return ""
	case errors.Is(err, unix.ENOTDIR):
		if file := a.tree.fileAbove(name); !a.removed[file] {
			return "a file is here where its directory is to be"
		}
		return ""
	case err != nil && !missing(err):
		return err.Error()
	}
	is := s.kind()
	switch {
	case here.Mode == "" && is == kindAbsent, here.IsFile() && is == kindFile, here.Mode == objects.ModeLink && is == kindLink:
		return ""
	case here.Mode == "" && is == kindDir && a.tree.only(name, a.removed):
		return ""
	case here.Mode == "" && is == kindDir:
		return "a directory with other files is here"
	case here.Mode == "":
		return "a file that git ignores is in its place"
	case is == kindAbsent:
		return "it is not checked out here"
	}
	return "it is something else here"
}

// merge merges a file that changed on both sides. The result has no id if they changed the same
// lines.
func (a *applier) merge(ctx context.Context, here objects.Entry, c objects.Change) (objects.Entry, error) {
	merged := objects.Entry{Mode: c.New.Mode, ID: c.New.ID}
	if c.New.Mode == c.Old.Mode {
		merged.Mode = here.Mode
	}
	switch {
	case here.ID == c.Old.ID || here.ID == c.New.ID:
		return merged, nil
	case c.New.ID == c.Old.ID:
		merged.ID = here.ID
		return merged, nil
	}
	id, err := a.mergeContents(ctx, []string{here.ID, c.Old.ID, c.New.ID})
	merged.ID = id
	return merged, err
}

// maxMerge is the size up to which contents are merged, in bytes.
const maxMerge = 32 << 20

// mergeContents merges the first and the last of three contents, of which the second is the one
// before, and returns the name of the result, or "" if they cannot be merged.
func (a *applier) mergeContents(ctx context.Context, ids []string) (string, error) {
	dir, err := os.MkdirTemp(a.Dir, "merge-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	names, large := make([]string, len(ids)), false
	err = objects.Blobs(ctx, a.repo, ids, maxMerge, func(n int, content []byte) error {
		large = large || content == nil
		names[n] = filepath.Join(dir, []string{"here", "before", "guest"}[n])
		return os.WriteFile(names[n], content, 0o600)
	})
	if err != nil || large {
		return "", err
	}
	out, err := a.repo.Git(ctx, nil, nil, append([]string{"merge-file", "-p", "-q"}, names...)...)
	if err != nil {
		// Its status is the number of conflicts, or 255 for what is not text (git-merge-file(1)).
		if ctx.Err() != nil {
			return "", err
		}
		return "", nil
	}
	id, err := a.repo.Git(ctx, nil, strings.NewReader(string(out)), "hash-object", "-w", "--stdin")
	return strings.TrimSpace(string(id)), err
}
