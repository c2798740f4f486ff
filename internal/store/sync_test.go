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
	"banger/internal/host/fsx/synctest"
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

// checkpointFails writes what is not synced until the log is copied to the database, where the
// nth sync fails: the log's, then the database's.
func checkpointFails(t *testing.T, s *Store, faults *synctest.Faults, n int) (last api.VM) {
	t.Helper()
	v := api.VM{ID: "a", Name: "dev", CreatedAt: time.Now()}
	faults.Fail(n, syscall.EIO)
	for puts := 0; len(faults.Seen()) <= n && puts < 1000; puts++ {
		v.Reason = fmt.Sprint(n, puts)
		if err := s.PutVM(t.Context(), v); err != nil { // a crash of the host may lose it
			t.Fatal(err)
		}
	}
	if seen := faults.Seen(); len(seen) != n+1 || strings.HasSuffix(seen[n], "-wal") != (n == 0) {
		t.Fatalf("synced: %v", seen)
	}
	return v
}

// withVM opens a store with one VM, and what makes its syncs fail.
func withVM(t *testing.T) (s *Store, path string, faults *synctest.Faults) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "db")
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.AddVM(t.Context(), api.VM{ID: "a", Name: "dev", CreatedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	return s, path, synctest.Below(t, filepath.Dir(path))
}

// TestFailedSyncOfACheckpoint, of the log or of the database, does not begin the log again: all
// that was committed is there for the next daemon.
func TestFailedSyncOfACheckpoint(t *testing.T) {
	s, path, faults := withVM(t)
	for n := range 2 {
		v := checkpointFails(t, s, faults, n)
		faults.Fail(-1, 0)
		if all, err := crashed(t, path).VMs(t.Context()); err != nil || len(all) != 1 || all[0].Reason != v.Reason {
			t.Errorf("the next daemon finds %+v, %v, not %s", all, err, v.Reason)
		}
	}
}

// TestNothingIsBuiltOnALogThatIsLost: after a checkpoint whose sync of the log failed, the log
// is not on the disk, and no later sync of it says so. Nothing durable is recorded before the
// database has what was in it, whichever sync fails then.
func TestNothingIsBuiltOnALogThatIsLost(t *testing.T) {
	s, path, faults := withVM(t)
	for n := range 6 {
		checkpointFails(t, s, faults, 0)
		faults.Fail(n, syscall.EIO)
		row := api.Operation{ID: fmt.Sprint(n), Kind: "vm.start", Target: "a", Step: "vmm", StartedAt: time.Now()}
		err := s.BeginOperation(t.Context(), row)
		seen := faults.Seen()
		written := false
		for i, name := range seen {
			written = written || name == path && i != n
		}
		if err == nil && !written {
			t.Errorf("it is recorded, and synced were %v, of which number %d failed", seen, n)
		}
		faults.Fail(-1, 0)
		if err := s.BeginOperation(t.Context(), api.Operation{ID: fmt.Sprint("again", n), Kind: "test", StartedAt: time.Now()}); err != nil {
			t.Error(err)
		}
	}
}

// TestTheNextDaemonTrustsNoLog that it finds: the sync of an earlier one may have failed. If
// there is none, nothing is synced for it.
func TestTheNextDaemonTrustsNoLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	v := api.VM{ID: "a", Name: "dev", CreatedAt: time.Now()}
	if err := s.AddVM(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	faults := synctest.Below(t, os.TempDir())
	next := crashed(t, path)
	if seen := faults.Seen(); !slices.Contains(seen, next.path) {
		t.Errorf("with a log were synced: %v", seen)
	}
	faults.FailAll(syscall.EIO)
	doubtful := crashed(t, path)
	faults.Fail(-1, 0)
	if err := doubtful.BeginOperation(t.Context(), api.Operation{ID: "1", Kind: "test", Step: "one", StartedAt: time.Now()}); err != nil {
		t.Error(err)
	}
	if seen := faults.Seen(); slices.Index(seen, doubtful.path) < 0 || slices.Index(seen, doubtful.path) == len(seen)-1 {
		t.Errorf("after a start without syncs were synced: %v", seen)
	}
	if err := next.Close(); err != nil {
		t.Error(err)
	}
	faults.Fail(-1, 0)
	if next, err = Open(t.Context(), next.path); err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if seen := faults.Seen(); slices.Contains(seen, next.path) {
		t.Errorf("without a log were synced: %v", seen)
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
