package digeststore

import (
	"cmp"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/idref"
)

// Locked is a store that nobody else changes until Unlock.
type Locked[O any] struct{ s *Store[O] }

// Lock waits until nobody else has locked the store.
func (s *Store[O]) Lock() Locked[O] {
	s.mu.Lock()
	return Locked[O]{s}
}

// Unlock ends the use of l.
func (l Locked[O]) Unlock() { l.s.mu.Unlock() }

// List returns all objects, oldest first.
func (l Locked[O]) List() ([]Entry[O], error) {
	s := l.s
	inDir, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, api.Errorf(api.KindInternal, "cannot list %s: %w", s.kind.Plural, err)
	}
	names := make(map[string][]string, len(s.names))
	for name, hex := range s.names {
		names[hex] = append(names[hex], name)
	}
	entries := []Entry[O]{}
	for _, e := range inDir {
		if !e.IsDir() || !IsHex(e.Name()) {
			continue
		}
		if object, err := s.look(e.Name()); err == nil {
			entries = append(entries, entry(e.Name(), object, names[e.Name()]))
		}
	}
	if len(s.known) > len(entries) { // some are gone
		there := map[string]bool{}
		for _, e := range entries {
			there[e.Hex] = true
		}
		maps.DeleteFunc(s.known, func(hex string, _ known[O]) bool { return !there[hex] })
	}
	slices.SortFunc(entries, func(a, b Entry[O]) int {
		return cmp.Or(s.kind.Created(a.Object).Compare(s.kind.Created(b.Object)), cmp.Compare(a.Hex, b.Hex))
	})
	return entries, nil
}

func entry[O any](hex string, object O, names []string) Entry[O] {
	if names == nil {
		names = []string{}
	}
	slices.Sort(names)
	return Entry[O]{Hex: hex, Names: names, Object: object}
}

// Load returns the object with a digest.
func (l Locked[O]) Load(hex string) (Entry[O], error) {
	object, err := l.s.look(hex)
	if err != nil {
		return Entry[O]{}, err
	}
	var names []string
	for name, digest := range l.s.names {
		if digest == hex {
			names = append(names, name)
		}
	}
	return entry(hex, object, names), nil
}

// Named returns the digest that a name points at; the object may be gone.
func (l Locked[O]) Named(name string) (hex string, ok bool) {
	hex, ok = l.s.names[name]
	return hex, ok
}

// Exact finds an object by its name or its whole digest.
func (l Locked[O]) Exact(ref string) (Entry[O], bool) {
	if hex, ok := l.Named(ref); ok {
		if e, err := l.Load(hex); err == nil {
			return e, true
		}
	}
	if hex := Hex(ref); IsHex(hex) { // no other begins so
		if e, err := l.Load(hex); err == nil {
			return e, true
		}
	}
	return Entry[O]{}, false
}

// ByPrefix finds an object by the beginning of its digest. ok is false if there is none;
// that there are several is an error.
func (l Locked[O]) ByPrefix(ref string) (found Entry[O], ok bool, err error) {
	entries, err := l.List()
	if err != nil {
		return found, false, err
	}
	digests := make([]string, len(entries))
	for i, e := range entries {
		digests[i] = e.Digest()
	}
	at, err := idref.Find(l.s.kind.Plural, ref, digests, func(i int) string { return idref.Label(digests[i], entries[i].Names...) })
	switch {
	case err != nil:
		return found, false, api.AsError(err).WithHint("%s", l.s.kind.ListCommand)
	case at < 0:
		return found, false, nil
	}
	return entries[at], true, nil
}

// Get finds an object by its name, its digest or the beginning of its digest.
func (l Locked[O]) Get(ref string) (found Entry[O], ok bool, err error) {
	if e, ok := l.Exact(ref); ok {
		return e, true, nil
	}
	return l.ByPrefix(ref)
}

// Name points names at an object, and returns it; they may have pointed at others. It
// writes nothing if they do so already.
func (l Locked[O]) Name(hex string, names ...string) (Entry[O], error) {
	if slices.ContainsFunc(names, func(name string) bool { return l.s.names[name] != hex }) {
		err := l.rename(func(now map[string]string) {
			for _, name := range names {
				now[name] = hex
			}
		})
		if err != nil {
			return Entry[O]{}, err
		}
	}
	return l.Load(hex)
}

// Drop removes names.
func (l Locked[O]) Drop(names ...string) error {
	return l.rename(func(now map[string]string) {
		for _, name := range names {
			delete(now, name)
		}
	})
}

// rename changes the names, on the disk first.
func (l Locked[O]) rename(change func(now map[string]string)) error {
	now := maps.Clone(l.s.names)
	change(now)
	if err := fsx.WriteJSON(l.s.namesFile(), now); err != nil {
		return fsx.DiskError("write the names of the "+l.s.kind.Plural, err)
	}
	l.s.names = now
	return nil
}

// Commit moves a finished directory to the place of an object, which must hold no valid
// one, and names it. If that fails, it moves the directory back.
func (l Locked[O]) Commit(dir, hex string, names ...string) (Entry[O], error) {
	s := l.s
	if err := os.RemoveAll(s.Path(hex)); err != nil {
		return Entry[O]{}, fsx.DiskError("replace a damaged "+s.kind.Name, err)
	}
	if err := os.Rename(dir, s.Path(hex)); err != nil {
		return Entry[O]{}, fsx.DiskError("store "+s.kind.Name, err)
	}
	var made Entry[O]
	err := fsx.DiskError("store "+s.kind.Name, fsx.SyncDir(s.dir))
	if err == nil {
		made, err = l.Name(hex, names...)
	}
	if err != nil {
		err = errors.Join(err, os.Rename(s.Path(hex), dir))
	}
	return made, err
}

// Remove removes an object, which should have no names any more. It renames the directory
// first, so that a half-removed object is never mistaken for an object.
func (l Locked[O]) Remove(hex string) error {
	trash := filepath.Join(l.s.staging, "deleted-"+hex)
	return errors.Join(os.RemoveAll(trash), os.Rename(l.s.Path(hex), trash), os.RemoveAll(trash))
}
