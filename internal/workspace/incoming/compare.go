package incoming

import (
	"cmp"
	"context"
	"path"
	"slices"
	"time"

	"banger/internal/workspace/objects"
	"banger/internal/workspace/treename"
)

// racy is how shortly before a listing a file must have changed for its times to prove
// nothing. Linux updates them once a tick, which takes at most 10 ms (CONFIG_HZ=100).
const racy = int64(20 * time.Millisecond)

// memory is a known state, for looking up.
type memory struct {
	tree    map[string]objects.Entry
	entries map[string]*Entry
	state   State
}

func remember(t map[string]objects.Entry, s State) memory {
	m := memory{tree: t, entries: make(map[string]*Entry, len(s.Entries)), state: s}
	for n := range s.Entries {
		if git, _ := withinGit(s.Entries[n].Path); git == "" {
			m.entries[s.Entries[n].Path] = &s.Entries[n]
		}
	}
	return m
}

// has returns what the known state has at e's path, if that has not changed.
func (m memory) has(e Entry) (objects.Entry, bool) {
	known, listed := m.entries[e.Path]
	if !listed || m.state.MayChange(e) {
		return objects.Entry{}, false
	}
	same := known.Type == e.Type && isExec(known.Mode) == isExec(e.Mode) && known.Size == e.Size &&
		known.MTime == e.MTime && known.CTime == e.CTime && known.Inode == e.Inode && known.Link == e.Link
	inTree, found := m.tree[e.Path]
	return inTree, same && found
}

// isExec reports what git knows of a file's mode (create_ce_mode in git's cache.h).
func isExec(mode uint32) bool { return mode&0o100 != 0 }

// compare finds the changes: what the guest has besides what is known, and what it has not any
// more.
func (i *importer) compare(ctx context.Context) error {
	shipped := remember(i.base, i.Shipped)
	known := []memory{shipped}
	if i.Last != nil {
		// If it is not there any more, more is fetched.
		t, err := i.base, error(nil)
		if i.Last.Commit != i.Shipped.Commit {
			t, err = objects.Tree(ctx, i.repo, i.Last.Commit)
		}
		if err == nil {
			known = append(known, remember(t, *i.Last))
			i.lastThere = true
		}
	}
	present := make(map[string]bool, len(i.entries))
	modules := i.modules()
	for _, e := range i.entries {
		if e.Type == TypeDir {
			continue
		}
		if module := modules.of(e.Path); module != "" {
			modules.seen(module, e, shipped)
			continue
		}
		present[e.Path] = true
		if c := i.changeOf(e, known); c != nil {
			i.changed = append(i.changed, c)
		}
	}
	i.addDeletions(present, known, modules)
	i.result.Submodules = modules.changed()
	slices.SortFunc(i.changed, func(a, b *change) int { return cmp.Compare(a.entry.Path, b.entry.Path) })
	i.warnOfCollisions(present)
	return nil
}

// changeOf returns the change of an entry: nil if the base has it, without an id if its content
// must be fetched.
func (i *importer) changeOf(e Entry, known []memory) *change {
	for _, m := range known {
		if at, same := m.has(e); same {
			if at == i.base[e.Path] {
				return nil
			}
			return &change{entry: e, mode: at.Mode, id: at.ID}
		}
	}
	c := &change{entry: e, mode: objects.ModeFile}
	switch was, shipped := known[0].entries[e.Path]; {
	case e.Type == TypeLink:
		c.mode = objects.ModeLink
	// The host's file system may know no modes (core.fileMode), so the base's counts unless the
	// guest changed it.
	case shipped && was.Type == TypeFile && isExec(was.Mode) == isExec(e.Mode) && i.base[e.Path].IsFile():
		c.mode = i.base[e.Path].Mode
	case isExec(e.Mode):
		c.mode = objects.ModeExec
	}
	return c
}

// addDeletions adds what was sent and is not there any more. What was not sent, as in a sparse
// checkout, stays.
func (i *importer) addDeletions(present map[string]bool, known []memory, modules modules) {
	shipped := known[0]
	for name, at := range i.base {
		sent := len(shipped.entries) == 0
		for _, m := range known {
			sent = sent || m.entries[name] != nil
		}
		switch {
		case at.Mode == objects.ModeModule:
			// A directory without files is what git makes of a submodule that is not checked out.
		case sent && !present[name] && !i.isUnknown(name):
			i.changed = append(i.changed, &change{entry: Entry{Path: name}})
		}
	}
	modules.deletions(shipped, i.entries, i.isUnknown)
}

// isUnknown reports whether the guest did not say what is at a path.
func (i *importer) isUnknown(name string) bool {
	for ; len(i.unknown) > 0 && name != "."; name = path.Dir(name) {
		if i.unknown[name] {
			return true
		}
	}
	return false
}

func (i *importer) warnOfCollisions(present map[string]bool) {
	all := make([]string, 0, len(present))
	for name := range present {
		all = append(all, name)
	}
	slices.Sort(all)
	isNew := func(name string) bool {
		_, old := i.base[name]
		return !old
	}
	for _, c := range treename.Collisions(all, isNew) {
		i.warn(c.Path, "its name differs from that of "+c.Other+" only in case")
	}
}

// modules are the submodules of the base, and whether something changed in them.
type modules map[string]bool

func (i *importer) modules() modules {
	m := modules{}
	for name, at := range i.base {
		if at.Mode == objects.ModeModule {
			m[name] = false
		}
	}
	return m
}

// of returns the submodule that name is or lies in, if any.
func (m modules) of(name string) string {
	for dir := name; len(m) > 0 && dir != "."; dir = path.Dir(dir) {
		if _, found := m[dir]; found {
			return dir
		}
	}
	return ""
}

// seen compares an entry in a submodule with what was sent.
func (m modules) seen(module string, e Entry, shipped memory) {
	known, listed := shipped.entries[e.Path]
	if !listed || *known != e {
		m[module] = true
	}
}

// deletions finds submodules that lost a file.
func (m modules) deletions(shipped memory, now []Entry, unknown func(string) bool) {
	if len(m) == 0 {
		return
	}
	present := make(map[string]bool, len(now))
	for _, e := range now {
		present[e.Path] = true
	}
	for name, e := range shipped.entries {
		if module := m.of(name); module != "" && e.Type != TypeDir && !present[name] && !unknown(name) {
			m[module] = true
		}
	}
}

func (m modules) changed() []string {
	var all []string
	for name, changed := range m {
		if changed {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}
