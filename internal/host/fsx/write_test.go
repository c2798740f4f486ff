package fsx_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"banger/internal/host/fsx"
	"banger/internal/host/fsx/synctest"
)

// TestWriteFileFails: whichever sync fails, and with whichever error, the old content is
// there, or nothing where there was nothing.
func TestWriteFileFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "names.json")
	faults := synctest.Below(t, dir)
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC} {
		for n := range 2 { // the file's, the directory's
			os.Remove(path)
			faults.Fail(n, errno)
			if err := fsx.WriteFile(path, []byte("new"), 0o600); !errors.Is(err, errno) {
				t.Errorf("%v at sync %d: %v", errno, n, err)
			}
			if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
				t.Errorf("%v at sync %d: %v is there, %v", errno, n, entries, err)
			}
			faults.Fail(-1, 0)
			if err := fsx.WriteFile(path, []byte("old"), 0o640); err != nil {
				t.Fatal(err)
			}
			faults.Fail(n, errno)
			if err := fsx.WriteFile(path, []byte("new"), 0o600); !errors.Is(err, errno) {
				t.Errorf("%v at sync %d: %v", errno, n, err)
			}
			data, err := os.ReadFile(path)
			info, statErr := os.Stat(path)
			if err != nil || statErr != nil || string(data) != "old" || info.Mode() != 0o640 {
				t.Errorf("%v at sync %d: %q %v, %v", errno, n, data, info, err)
			}
			if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
				t.Errorf("%v at sync %d: %v is there, %v", errno, n, entries, err)
			}
		}
	}
}

// TestWriteFileOverAnything: what is in the way of a file is replaced, and not opened.
func TestWriteFileOverAnything(t *testing.T) {
	dir := t.TempDir()
	for name, put := range map[string]func(path string) error{
		"a FIFO":        func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a link":        func(path string) error { return os.Symlink("target", path) },
		"a dead socket": func(path string) error { return syscall.Mknod(path, syscall.S_IFSOCK|0o600, 0) },
	} {
		path := filepath.Join(dir, name)
		if err := put(path); err != nil {
			t.Fatal(err)
		}
		if err := fsx.WriteFile(path, []byte("new"), 0o600); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() || info.Size() != 3 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "target")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the link was followed: %v", err)
	}
}

func TestRemoveTemporary(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "[odd] name*")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "names.json")
	if err := fsx.WriteFile(path, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".names.json.123", ".other.json.123"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := fsx.RemoveTemporary(path); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 || entries[0].Name() != ".other.json.123" || entries[1].Name() != "names.json" {
		t.Errorf("%v, %v", entries, err)
	}
}
