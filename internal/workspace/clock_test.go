package workspace_test

import (
	"context"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"banger/client"
	"banger/internal/workspace"
	"banger/internal/workspace/incoming"
	"banger/internal/workspace/treesync"
)

// skewed is a guest whose clock is ahead of the host's, or behind.
type skewed struct {
	*dirGuest
	by time.Duration
}

// Tree lists what a guest with such a clock has.
func (g *skewed) Tree(ctx context.Context, path string, o client.TreeOptions, each func(client.TreeEntry) error) error {
	return g.dirGuest.Tree(ctx, path, o, func(e client.TreeEntry) error {
		e.MTime += g.by.Nanoseconds()
		e.CTime += g.by.Nanoseconds()
		return each(e)
	})
}

// TestClocksThatDiffer: a guest's clock is hours off, and is set while files are edited. Each edit
// is seen, also one of the same size, with the mtime put back; and what did not change does not
// come.
func TestClocksThatDiffer(t *testing.T) {
	for _, by := range []time.Duration{-30 * 24 * time.Hour, -3 * time.Hour, 3 * time.Hour, 30 * 24 * time.Hour} {
		t.Run(by.String(), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			g := &skewed{f.guest, by}
			if _, err := f.w.Ship(t.Context(), g, workspace.Cargo{VM: vm, Directory: directory}); err != nil {
				t.Fatal(err)
			}
			edit(t, filepath.Join(g.root, directory, "one"), "9\n")
			wantChanges(t, f, g, "M one\n")
			g.by = 0 // its clock is set
			wantChanges(t, f, g, "M one\n")
			edit(t, filepath.Join(g.root, directory, "one"), "8\n")
			wantChanges(t, f, g, "M one\n")
			edit(t, filepath.Join(g.root, directory, "one"), "1\n") // as it was sent
			g.by = -by
			wantChanges(t, f, g, "")
		})
	}
}

// edit writes a file without another size or mtime.
func edit(t *testing.T, path, content string) {
	t.Helper()
	time.Sleep(30 * time.Millisecond) // the kernel's tick, or not even the ctime is another
	info, err := os.Stat(path)
	if err == nil {
		err = os.WriteFile(path, []byte(content), 0o644)
	}
	if err == nil {
		err = os.Chtimes(path, info.ModTime(), info.ModTime())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func wantChanges(t *testing.T, f *fixture, g *skewed, want string) {
	t.Helper()
	if got := f.collectFrom(g); got != want {
		t.Errorf("with the clock %v off: %q, want %q", g.by, got, want)
	}
}

// Place writes to such a guest.
func (g *skewed) Place(ctx context.Context, dir string, changes iter.Seq[treesync.Change], each func(treesync.Placed) error) error {
	here := func(yield func(treesync.Change) bool) {
		for c := range changes {
			c.Expect = shifted(c.Expect, -g.by)
			if !yield(c) {
				return
			}
		}
	}
	return g.dirGuest.Place(ctx, dir, here, func(p treesync.Placed) error {
		p.Entry = shifted(p.Entry, g.by)
		return each(p)
	})
}

// shifted is an entry by another clock.
func shifted(e incoming.Entry, by time.Duration) incoming.Entry {
	if e.Type != "" {
		e.MTime += by.Nanoseconds()
		e.CTime += by.Nanoseconds()
	}
	return e
}

// TestSyncOfClocksThatDiffer: a pass compares contents and never times of the two sides.
func TestSyncOfClocksThatDiffer(t *testing.T) {
	for _, by := range []time.Duration{-3 * time.Hour, 3 * time.Hour} {
		t.Run(by.String(), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			g := &skewed{f.guest, by}
			if _, err := f.w.Ship(t.Context(), g, workspace.Cargo{VM: vm, Directory: directory}); err != nil {
				t.Fatal(err)
			}
			s := syncedOf(f)
			pass := func() string {
				t.Helper()
				r, err := f.w.Sync(t.Context(), g, workspace.Shipment{VM: vm.ID}, workspace.SyncRequest{})
				if err != nil {
					t.Fatal(err)
				}
				return describe(r)
			}
			edit(t, filepath.Join(s.dir, "one"), "9\n")
			edit(t, filepath.Join(f.top, "two"), "8\n")
			s.want("an edit on each side", pass(), "> two", "< one")
			s.want("nothing", pass())
			g.by = 0 // its clock is set
			s.want("nothing but the clock", pass())
			edit(t, filepath.Join(s.dir, "one"), "7\n")
			edit(t, filepath.Join(f.top, "one"), "6\n")
			if got := pass(); !strings.HasPrefix(got, "! one: ") {
				t.Errorf("one file on both sides: %q", got)
			}
		})
	}
}
