// Package partial lists a guest's directory from an earlier listing and those of its directories in
// which something has changed since: the time that takes does not grow with the tree.
package partial

import (
	"context"
	"path"

	"banger/internal/workspace/incoming"
)

// Bounds of what is asked for: an agent takes requests of up to 64 KiB, in which a byte of a name takes
// six at most. Beyond some hundred directories a whole listing costs no more.
const (
	maxDirs  = 256
	maxBytes = 8 << 10
)

// List calls each with everything that a directory has, as incoming.Guest's Tree does. last is what
// it had before, and dirs are those in which something may have changed since; read lists their
// entries, without what is below them, and the directories above. ok is false, and each was not
// called, if all of it has to be listed instead.
func List(ctx context.Context, last incoming.State, dirs []string, read func(ctx context.Context, dirs []string, each func(incoming.Entry) error) error, each func(incoming.Entry) error) (ok bool, err error) {
	if last.Gaps || last.Began == 0 {
		return false, nil
	}
	l := newListing(last, dirs)
	if !l.possible() {
		return false, nil
	}
	if len(l.dirs) > 0 {
		err := read(ctx, l.dirs, func(e incoming.Entry) error {
			l.now = append(l.now, e)
			return nil
		})
		if err != nil {
			return false, err
		}
	}
	if !l.only() { // an older agent lists everything
		return false, nil
	}
	return true, l.merge(last.Entries, each)
}

// listing is the work of one List.
type listing struct {
	dirs   []string        // that are read again
	again  map[string]bool // the same
	above  map[string]bool // those that lead there
	now    []incoming.Entry
	listed map[string]string // types, by path
	keeps  map[string]bool   // whether the former entries of a directory are still there, by path
}

func newListing(last incoming.State, dirs []string) *listing {
	l := &listing{again: map[string]bool{}, above: map[string]bool{}, listed: map[string]string{}, keeps: map[string]bool{".": true}}
	for _, dir := range dirs {
		l.add(dir)
	}
	for _, e := range last.Entries {
		// It may have changed after it was listed, and have the same times: the next import compares
		// its content only if it is listed later than that.
		if e.Type != incoming.TypeDir && last.MayChange(e) {
			l.add(path.Dir(e.Path))
		}
	}
	return l
}

func (l *listing) add(dir string) {
	if l.again[dir] {
		return
	}
	l.again[dir] = true
	l.dirs = append(l.dirs, dir)
	for dir != "." {
		dir = path.Dir(dir)
		l.above[dir] = true
	}
}

// possible reports whether the directories can be asked for.
func (l *listing) possible() bool {
	sum := 0
	for _, dir := range l.dirs {
		sum += len(dir)
	}
	return len(l.dirs) <= maxDirs && sum <= maxBytes
}

// only reports whether the guest listed what was asked for, and no more.
func (l *listing) only() bool {
	for _, e := range l.now {
		if !l.again[path.Dir(e.Path)] && !l.again[e.Path] && !l.above[e.Path] {
			return false
		}
		l.listed[e.Path] = e.Type
	}
	return true
}

// merge calls each with what was read now, and with the former entries that are still there.
func (l *listing) merge(former []incoming.Entry, each func(incoming.Entry) error) error {
	for _, e := range l.now {
		if err := each(e); err != nil {
			return err
		}
	}
	for _, e := range former {
		_, replaced := l.listed[e.Path]
		if replaced || l.known(e.Path) || !l.kept(path.Dir(e.Path)) {
			continue
		}
		if err := each(e); err != nil {
			return err
		}
	}
	return nil
}

// known reports whether what was read says what is at a path, and if there is anything.
func (l *listing) known(name string) bool {
	return l.again[path.Dir(name)] || l.again[name] || l.above[name]
}

// kept reports whether a directory that has former entries is still one.
func (l *listing) kept(dir string) bool {
	kept, found := l.keeps[dir]
	if !found {
		kept = l.kept(path.Dir(dir)) && (!l.known(dir) || l.listed[dir] == incoming.TypeDir)
		l.keeps[dir] = kept
	}
	return kept
}
