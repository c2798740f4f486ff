package workspace_test

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"banger/client"
	"banger/internal/workspace"
	"banger/internal/workspace/worktest"
)

// BenchmarkSync measures passes over 10,000 files, without the time that a real guest takes to
// list them: one with nothing to do, and one with an edit on either side.
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
		measure(b, func() {
			_ = f.guest.Tree(b.Context(), directory, client.TreeOptions{}, func(client.TreeEntry) error { return nil })
		})
	})
	pass(b)
	b.Run("idle", func(b *testing.B) { measure(b, func() { pass(b) }) })
	n := 0
	b.Run("edit", func(b *testing.B) {
		measure(b, func() {
			n++
			worktest.Write(b, f.top, "dir5/file555", fmt.Sprint("edit ", n, "\n"))
			pass(b)
		})
	})
	b.Run("edit-there", func(b *testing.B) {
		measure(b, func() {
			n++
			worktest.Write(b, filepath.Join(f.guest.root, directory), "dir5/file556", fmt.Sprint("edit ", n, "\n"))
			pass(b)
		})
	})
	b.Run("idle-later", func(b *testing.B) { measure(b, func() { pass(b) }) })
}

// measure reports the time on a processor, too, that this process and those of git take: it depends
// less on what else the machine does.
func measure(b *testing.B, work func()) {
	began, n := cpu(), 0
	for b.Loop() {
		work()
		n++
	}
	b.ReportMetric(float64((cpu()-began).Milliseconds())/float64(n), "cpu-ms/op")
}

func cpu() time.Duration {
	var sum time.Duration
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		_ = syscall.Getrusage(who, &u)
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return sum
}
