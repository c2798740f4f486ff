package synctest

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"banger/internal/host/fsx"
)

// TestFail: just the sync that is meant fails, also one that is no data's, and nothing
// elsewhere.
func TestFail(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	faults := Below(t, dir)
	write := func(dir string) error { return fsx.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o600) }
	if err := errors.Join(write(dir), write(other)); err != nil {
		t.Fatal(err)
	}
	if seen := faults.Seen(); len(seen) != 2 || seen[1] != dir {
		t.Errorf("synced: %v", seen)
	}
	faults.Fail(1, syscall.EIO)
	if err := write(other); err != nil {
		t.Error(err)
	}
	if err := write(dir); !errors.Is(err, syscall.EIO) {
		t.Errorf("the directory's fsync failed, and it said %v", err)
	}
	if err := write(dir); err != nil {
		t.Error(err)
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	faults.Fail(0, syscall.ENOSPC)
	if err := syscall.Fdatasync(int(f.Fd())); err != syscall.ENOSPC {
		t.Errorf("fdatasync: %v", err)
	}
}
