package partial_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"banger/internal/guest/manifest"
	"banger/internal/treewatch"
	"banger/internal/workspace/incoming"
	"banger/internal/workspace/partial"
)

// tree is a directory that is listed and watched as an agent does it.
type tree struct {
	t   *testing.T
	dir string
	// asked are the directories of the last list, and obeys is false for an older agent.
	asked []string
	obeys bool
}

func newTree(t *testing.T) *tree { return &tree{t: t, dir: t.TempDir(), obeys: true} }

func (f *tree) list(ctx context.Context, dirs []string, each func(incoming.Entry) error) error {
	o := manifest.Options{Skip: []string{".git"}}
	if f.asked = dirs; f.obeys {
		o.Only = dirs
	}
	var b bytes.Buffer
	if err := manifest.List(ctx, &b, f.dir, o); err != nil {
		return err
	}
	return manifest.Read(&b, o, func(e manifest.Entry) error { return each(incoming.Entry(e)) })
}

// all is the whole list, long after anything changed.
func (f *tree) all() incoming.State {
	s := incoming.State{Began: time.Now().Add(time.Hour).UnixNano()}
	if err := f.list(f.t.Context(), nil, take(&s.Entries)); err != nil {
		f.t.Fatal(err)
	}
	return s
}

func take(all *[]incoming.Entry) func(incoming.Entry) error {
	return func(e incoming.Entry) error {
		*all = append(*all, e)
		return nil
	}
}

func sorted(all []incoming.Entry) []incoming.Entry {
	slices.SortFunc(all, func(a, b incoming.Entry) int { return strings.Compare(a.Path, b.Path) })
	return all
}

func (f *tree) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *tree) write(name, content string) {
	f.t.Helper()
	full := filepath.Join(f.dir, name)
	f.must(os.MkdirAll(filepath.Dir(full), 0o755))
	f.must(os.WriteFile(full, []byte(content), 0o644))
}

// change makes a random change.
func (f *tree) change(r *rand.Rand) {
	name := func() string {
		parts := make([]string, 1+r.IntN(4))
		for n := range parts {
			parts[n] = fmt.Sprint("n", r.IntN(4))
		}
		return filepath.Join(f.dir, path.Join(parts...))
	}
	// What cannot be done, such as a directory in a file, is no change.
	switch at := name(); r.IntN(7) {
	case 0, 1:
		_ = os.MkdirAll(filepath.Dir(at), 0o755)
		_ = os.WriteFile(at, fmt.Append(nil, r.IntN(100)), 0o644)
	case 2:
		_ = os.RemoveAll(at)
	case 3:
		_ = os.Rename(at, name())
	case 4:
		_ = os.Symlink("n0", at)
	case 5:
		_ = os.Chmod(at, 0o700)
	case 6:
		_ = os.MkdirAll(at, 0o755)
	}
}

// TestWhatWasWatched: a list of what has changed, by what a watch reports, is the whole list.
func TestWhatWasWatched(t *testing.T) {
	f := newTree(t)
	changes := &partial.Changes{Whole: time.Hour}
	if _, ok := changes.Take(); ok {
		t.Fatal("nothing is watched, and not everything is listed")
	}
	ctx, cancel := context.WithCancel(t.Context())
	events := make(chan partial.Event)
	ended := make(chan error)
	go func() {
		ended <- treewatch.Watch(ctx, f.dir, treewatch.Options{Skip: []string{".git"}}, func(e treewatch.Event) error {
			changes.Note(partial.Event(e))
			events <- partial.Event(e)
			return nil
		})
	}()
	<-events
	if _, ok := changes.Take(); ok {
		t.Fatal("after the watch has begun, not everything is listed")
	}
	last := f.all()
	seed := rand.Uint64()
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	fewer := 0
	for round := range 40 {
		for range r.IntN(30) {
			f.change(r)
		}
		end := fmt.Sprint("end", round)
		f.write(end+"/file", "") // its event is the last
		for e := range events {
			if slices.Contains(e.Dirs, end) {
				break
			}
		}
		dirs, ok := changes.Take()
		if !ok {
			t.Fatal("everything is listed again")
		}
		var now []incoming.Entry
		ok, err := partial.List(t.Context(), last, dirs, f.list, take(&now))
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		if len(dirs) < round { // each has a directory of its own
			fewer++
		}
		all := f.all()
		if diff := cmp.Diff(sorted(all.Entries), sorted(now)); diff != "" {
			t.Fatalf("round %d, dirs %q: %s", round, dirs, diff)
		}
		last = all
	}
	if fewer < 10 {
		t.Errorf("only %d lists were not whole", fewer)
	}
	cancel()
	for err := range ended {
		if err != nil {
			break
		}
	}
}

// TestRacy: what changed shortly before the last list may have changed again, and is read again.
func TestRacy(t *testing.T) {
	f := newTree(t)
	f.write("old/file", "")
	f.write("new/file", "")
	last := f.all()
	at := slices.IndexFunc(last.Entries, func(e incoming.Entry) bool { return e.Path == "new/file" })
	last.Entries[at].CTime = last.Began
	for placed, want := range map[bool][]string{false: {"new"}, true: nil} {
		last.Placed = map[string]bool{"new/file": placed}
		f.asked = nil
		if ok, err := partial.List(t.Context(), last, nil, f.list, take(new([]incoming.Entry))); !ok || err != nil {
			t.Fatal(ok, err)
		}
		if diff := cmp.Diff(want, f.asked); diff != "" {
			t.Error(diff)
		}
	}
}

// TestWhole: what cannot be said by a part is for the whole list.
func TestWhole(t *testing.T) {
	f := newTree(t)
	var many []string
	for n := range 300 {
		many = append(many, fmt.Sprint("dir", n))
	}
	f.write("dir/file", "")
	last, gaps, unknown := f.all(), f.all(), f.all()
	gaps.Gaps, unknown.Began = true, 0
	older := *f
	older.obeys = false
	for name, c := range map[string]struct {
		last incoming.State
		dirs []string
		f    *tree
	}{
		"gaps":             {gaps, []string{"dir"}, f},
		"an unknown time":  {unknown, []string{"dir"}, f},
		"many directories": {last, many, f},
		"long names":       {last, []string{strings.Repeat("d", 40_000)}, f},
		"an older agent":   {last, []string{"."}, &older},
	} {
		ok, err := partial.List(t.Context(), c.last, c.dirs, c.f.list, func(incoming.Entry) error {
			t.Errorf("%s: something is listed", name)
			return nil
		})
		if ok || err != nil {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
}

// TestChanges: when everything is to be listed.
func TestChanges(t *testing.T) {
	in := func(dirs ...string) partial.Event { return partial.Event{Dirs: dirs} }
	ready, all := partial.Event{Ready: true}, partial.Event{All: true}
	gap := partial.Event{All: true, Reason: "no more watches"}
	for name, c := range map[string]struct {
		do    func(c *partial.Changes)
		dirs  []string
		whole bool
	}{
		"nothing":            {func(c *partial.Changes) {}, nil, false},
		"two":                {func(c *partial.Changes) { c.Note(in("b", "c")); c.Note(in("a", "b")) }, []string{"a", "b", "c"}, false},
		"taken":              {func(c *partial.Changes) { c.Note(in("a")); c.Take(); c.Note(in("b")) }, []string{"b"}, false},
		"all":                {func(c *partial.Changes) { c.Note(all); c.Note(in("b")) }, nil, true},
		"all, and taken":     {func(c *partial.Changes) { c.Note(all); c.Take(); c.Note(in("b")) }, []string{"b"}, false},
		"a gap":              {func(c *partial.Changes) { c.Note(gap); c.Take() }, nil, true},
		"a gap that closed":  {func(c *partial.Changes) { c.Note(gap); c.Note(all) }, nil, true},
		"the same, taken":    {func(c *partial.Changes) { c.Note(gap); c.Note(all); c.Take(); c.Note(in("a")) }, []string{"a"}, false},
		"lost":               {func(c *partial.Changes) { c.Lost(); c.Take() }, nil, true},
		"lost, and again":    {func(c *partial.Changes) { c.Lost(); c.Take(); c.Note(ready) }, nil, true},
		"the same one, then": {func(c *partial.Changes) { c.Lost(); c.Note(ready); c.Take() }, nil, false},
		"a pass that failed": {func(c *partial.Changes) { c.Note(in("a")); c.Take(); c.Failed() }, nil, true},
	} {
		changes := &partial.Changes{Whole: time.Hour}
		changes.Note(ready)
		changes.Take()
		c.do(changes)
		dirs, ok := changes.Take()
		if ok == c.whole {
			t.Errorf("%s: whole: %v", name, !ok)
		}
		if diff := cmp.Diff(c.dirs, dirs); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	late := &partial.Changes{}
	late.Note(ready)
	late.Take()
	if _, ok := late.Take(); ok {
		t.Error("a whole list is never made again")
	}
}
