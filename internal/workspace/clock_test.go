package workspace_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"banger/client"
	"banger/internal/workspace"
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
