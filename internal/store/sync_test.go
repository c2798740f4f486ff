package store

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"banger/api"
	"banger/internal/fsx/synctest"
)

// crashed opens the store as the next daemon finds it after kill -9: what this one wrote is
// there, whether or not it was synced.
func crashed(t *testing.T, path string) *Store {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "db")
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(copied+suffix, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(t.Context(), copied)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestFailedSync: a transaction whose fsync fails has not happened, for this daemon and for
// the next one, and what was written before it is synced again, from memory: after a failed
// fsync the kernel takes the pages for clean, and the next fsync says nothing of them.
func TestFailedSync(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC} {
		t.Run(errno.Error(), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "db")
			s, err := Open(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			faults := synctest.Below(t, filepath.Dir(path))
			v := api.VM{ID: "a", Name: "dev", CreatedAt: time.Now()}
			if err := s.AddVM(t.Context(), v); err != nil {
				t.Fatal(err)
			}
			faults.Fail(0, errno)
			row := api.Operation{ID: "1", Kind: "vm.start", Target: "a", Step: "vmm", StartedAt: time.Now()}
			if err := s.BeginOperation(t.Context(), row); err == nil {
				t.Fatal("what could not be synced is recorded")
			}
			if seen := faults.Seen(); !strings.HasSuffix(seen[0], "-wal") || !slices.Contains(seen, path) {
				t.Errorf("synced: %v; what the log held is not written again", seen)
			}
			for name, s := range map[string]*Store{"this daemon": s, "the next one": crashed(t, path)} {
				left, err := s.UnfinishedOperations(t.Context())
				if err != nil || len(left) != 0 {
					t.Errorf("%s: %+v, %v", name, left, err)
				}
				if all, err := s.VMs(t.Context()); err != nil || len(all) != 1 {
					t.Errorf("%s: %+v, %v", name, all, err)
				}
			}
			if err := s.BeginOperation(t.Context(), row); err != nil {
				t.Errorf("again: %v", err)
			}
			if left, err := crashed(t, path).UnfinishedOperations(t.Context()); err != nil || len(left) != 1 {
				t.Errorf("again: %+v, %v", left, err)
			}
		})
	}
}

// TestFailedSyncAndNothingCanBeWritten: until what the log held is synced again, nothing
// durable is recorded.
func TestFailedSyncAndNothingCanBeWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	faults := synctest.Below(t, filepath.Dir(path))
	begin := func(n int) error {
		return s.BeginOperation(t.Context(), api.Operation{ID: fmt.Sprint(n), Kind: "test", Step: "one", StartedAt: time.Now()})
	}
	if err := s.AddVM(t.Context(), api.VM{ID: "a", Name: "dev", CreatedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		faults.FailAll(syscall.EIO)
		if err := begin(n); err == nil {
			t.Errorf("operation %d is recorded", n)
		}
		if left, err := crashed(t, path).UnfinishedOperations(t.Context()); err != nil || len(left) != 0 {
			t.Errorf("the next daemon finds %+v, %v", left, err)
		}
	}
	faults.Fail(-1, 0)
	if err := begin(9); err != nil {
		t.Error(err)
	}
	if seen := faults.Seen(); !slices.Contains(seen, path) {
		t.Errorf("synced: %v; what the log held is not written again first", seen)
	}
}

// TestTriedAgainIsDurable: what is tried again after a failed commit is synced as before.
func TestTriedAgainIsDurable(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, want := range []int{1, 2} { // NORMAL, FULL (sqlite.org/pragma.html)
		if _, err := s.db.ExecContext(t.Context(), fmt.Sprintf("PRAGMA synchronous=%d", want)); err != nil {
			t.Fatal(err)
		}
		s.dropFailed()
		var level int
		if err := s.db.QueryRowContext(t.Context(), "PRAGMA synchronous").Scan(&level); err != nil || level != want {
			t.Errorf("synchronous is %d, want %d, %v", level, want, err)
		}
	}
}
