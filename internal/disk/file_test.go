package disk

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"banger/api"
)

// TestMakeIsDurable: a disk that is not on the disk is none.
func TestMakeIsDurable(t *testing.T) {
	dir := t.TempDir()
	fill := func(f *os.File) error { _, err := f.Write([]byte("data")); return err }
	var synced []string
	defer func(f func(*os.File) error, d func(string) error) { syncFile, syncDir = f, d }(syncFile, syncDir)
	syncFile = func(f *os.File) error { synced = append(synced, f.Name()); return nil }
	syncDir = func(d string) error { synced = append(synced, d); return nil }
	path := filepath.Join(dir, "disk")
	if err := Make(t.Context(), path, fill); err != nil || len(synced) != 2 || synced[0] != path || synced[1] != dir {
		t.Errorf("%v, %v", err, synced)
	}
	for _, failure := range []error{syscall.EIO, syscall.ENOSPC, syscall.EDQUOT} {
		path := filepath.Join(dir, "other")
		syncFile = func(*os.File) error { return failure }
		err := Make(t.Context(), path, fill)
		if !errors.Is(err, failure) || (api.KindOf(err) == api.KindNoSpace) != (failure != syscall.EIO) {
			t.Errorf("%v gives %v", failure, err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("something is left: %v", err)
		}
	}
}
