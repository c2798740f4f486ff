package apply

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/workspace/objects"
)

// Session is work on a work tree in which each path is written for itself: what one path's change
// fails of is not taken back from the others, and Undo knows nothing of it. Nobody else has a
// session with the same directory meanwhile.
type Session struct {
	a      *applier
	unlock func()
}

// Begin begins a session. dir is a directory of banger's for it. What a session left that was
// killed is removed from the work tree.
func Begin(ctx context.Context, repo Repo, dir string) (*Session, error) {
	unlock, err := lock(ctx, dir)
	if err != nil {
		return nil, err
	}
	s := &Session{&applier{repo: repo, each: true, Request: Request{Dir: dir}}, unlock}
	if s.a.tree, err = openTree(repo.Top()); err != nil {
		unlock()
		return nil, err
	}
	if err = s.a.cleanUp(); err == nil {
		err = os.RemoveAll(filepath.Join(dir, journalDir))
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close ends the session.
func (s *Session) Close() {
	s.a.tree.close()
	s.unlock()
}

// Look remembers what is at paths, before a snapshot is taken: a path that changes later is not
// written.
func (s *Session) Look(ctx context.Context, names []string) error {
	changes := make([]objects.Change, len(names))
	for n, name := range names {
		changes[n].Path = name
	}
	return s.a.look(ctx, changes)
}

// Exists reports whether something is at a path that is not a directory.
func (s *Session) Exists(name string) (bool, error) {
	is, err := s.a.tree.lstat(name)
	if missing(err) || errors.Is(err, errLink) {
		return false, nil
	}
	return err == nil && is.kind() != kindDir, err
}

// Behind reports whether a directory of a path is a symbolic link: then git has nothing there.
func (s *Session) Behind(name string) bool {
	_, err := s.a.tree.lstat(name)
	return errors.Is(err, errLink)
}

// Open opens a file for reading; no directory of its path is a symbolic link. Of a link it returns
// the target instead. The error is one of fs.ErrNotExist if it is neither.
func (s *Session) Open(name string) (f *os.File, target string, err error) {
	is, err := s.a.tree.lstat(name)
	switch {
	case missing(err), errors.Is(err, errLink):
		return nil, "", fs.ErrNotExist
	case err != nil:
		return nil, "", err
	case is.kind() == kindLink:
		t, err := s.a.tree.readLink(name)
		return nil, string(t), err
	case is.kind() != kindFile:
		return nil, "", fs.ErrNotExist
	}
	f, err = s.a.tree.open(name, unix.O_RDONLY|unix.O_NONBLOCK)
	if missing(err) || errors.Is(err, errLink) {
		return nil, "", fs.ErrNotExist
	}
	return f, "", err
}

// Brought is what a session wrote.
type Brought struct {
	Result
	// Changed are paths that were changed since Look: they stay.
	Changed []string
	// Same are paths that had the bytes already that git would write.
	Same []string
}

// Write makes changes, of paths that were looked at before the snapshot. Old is what the snapshot
// has. A path that cannot be written is a conflict.
func (s *Session) Write(ctx context.Context, snapshot string, changes []objects.Change) (Brought, error) {
	var b Brought
	var err error
	a := s.a
	a.result, a.actions = Result{Snapshot: snapshot}, nil
	if a.host, err = objects.Tree(ctx, a.repo, snapshot); err != nil {
		return b, err
	}
	if err := a.plan(ctx, changes); err != nil || len(a.actions) == 0 {
		b.Result = a.result
		return b, err
	}
	j, err := a.ready(ctx)
	if err != nil {
		return b, err
	}
	err = a.writeEach(ctx, j, &b)
	b.Result = a.result
	return b, errors.Join(err, j.discard(a.Dir))
}

// writeEach writes the entries of the journal. An error that is not of one path alone ends it.
func (a *applier) writeEach(ctx context.Context, j *journal, b *Brought) error {
	for n, e := range j.Entries {
		if e.Old == e.New {
			b.Same = append(b.Same, e.path())
			continue
		}
		err := a.write(ctx, j, n)
		switch kind := api.KindOf(err); {
		case err == nil:
			a.done(n, e)
		case a.tree.fileAbove(e.path()) != "": // which was going to be removed
			b.Changed = append(b.Changed, e.path())
		case kind == api.KindConflict && a.tree.isDir(e.path()):
			a.result.Conflicts = append(a.result.Conflicts, Conflict{e.path(), "a directory is in its place here"})
		case kind == api.KindConflict:
			b.Changed = append(b.Changed, e.path())
		case kind == api.KindNoSpace, kind == api.KindCanceled:
			return err
		default:
			a.result.Conflicts = append(a.result.Conflicts, Conflict{e.path(), fmt.Sprintf("it cannot be written here: %v", errors.Unwrap(err))})
		}
	}
	return nil
}

func (t *tree) isDir(name string) bool {
	s, err := t.lstat(name)
	return err == nil && s.kind() == kindDir
}
