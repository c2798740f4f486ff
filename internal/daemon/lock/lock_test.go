package lock

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"banger/api"
	"banger/internal/host/fsx"
)

// TestLockOfAnEndingDaemonIsAwaited: one that no longer listens ends soon; one that
// listens is there to be used.
func TestLockOfAnEndingDaemonIsAwaited(t *testing.T) {
	dir := t.TempDir()
	path, socket := filepath.Join(dir, "lock"), filepath.Join(dir, "socket")
	first, err := Take(t.Context(), path, socket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Take(t.Context(), path, ""); api.KindOf(err) != api.KindConflict {
		t.Errorf("without a wait: %v", err)
	}
	l, err := fsx.ListenUnix(socket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Take(t.Context(), path, socket); api.KindOf(err) != api.KindConflict {
		t.Errorf("it listens: %v", err)
	}
	l.Close()
	time.AfterFunc(200*time.Millisecond, func() { first.Close() })
	second, err := Take(t.Context(), path, socket)
	if err != nil {
		t.Fatalf("it is ending: %v", err)
	}
	second.Close()
}

// TestLockNeedsNoRoom: the pid in it is for people.
func TestLockNeedsNoRoom(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "lock")
	if err := os.Symlink("/dev/full", path); err != nil {
		t.Fatal(err)
	}
	lock, err := Take(t.Context(), path, "")
	if err != nil {
		t.Fatal(err)
	}
	lock.Close()
}
