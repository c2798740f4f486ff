package workspace_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"banger/internal/workspace"
	"banger/internal/workspace/worktest"
)

// BenchmarkSync measures passes over 10,000 files, without the time that a real guest takes to
// list them: one with nothing to do, and one with an edit here.
func BenchmarkSync(b *testing.B) {
	f := &fixture{top: filepath.Join(b.TempDir(), "project"), guest: &dirGuest{root: b.TempDir()}}
	for n := range 10_000 {
		worktest.Write(b, f.top, fmt.Sprintf("dir%d/file%d", n/100, n), fmt.Sprint(n, "\n"))
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "."}, {"-c", "user.name=U", "-c", "user.email=u@example.com", "commit", "-qm", "first"}} {
		if err := command(f.top, args...).Run(); err != nil {
			b.Fatal(err)
		}
	}
	w, err := workspace.Open(b.Context(), f.top, b.TempDir())
	if err == nil {
		_, err = w.Ship(b.Context(), f.guest, workspace.Cargo{VM: vm, Directory: directory})
	}
	if err != nil {
		b.Fatal(err)
	}
	pass := func(b *testing.B) {
		if _, err := w.Sync(b.Context(), f.guest, workspace.Shipment{VM: vm.ID}, workspace.SyncRequest{}); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("list", func(b *testing.B) {
		for b.Loop() {
			_ = filepath.WalkDir(filepath.Join(f.guest.root, directory), func(name string, d os.DirEntry, _ error) error { _, err := d.Info(); return err })
		}
	})
	pass(b)
	b.Run("idle", func(b *testing.B) {
		for b.Loop() {
			pass(b)
		}
	})
	n := 0
	b.Run("edit", func(b *testing.B) {
		for b.Loop() {
			n++
			worktest.Write(b, f.top, "dir5/file555", fmt.Sprint("edit ", n, "\n"))
			pass(b)
		}
	})
}
