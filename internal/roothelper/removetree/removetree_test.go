package removetree

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"banger/api"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestRemovalOfManyNames: they are not in memory all at once. Long names are the most that
// a VMM can make of a jail: hard links take little else.
func TestRemovalOfManyNames(t *testing.T) {
	dir := t.TempDir()
	first := filepath.Join(dir, "first")
	check(t, os.WriteFile(first, nil, 0o600))
	const many = 5 * namesAtOnce
	for i := range many {
		check(t, os.Link(first, filepath.Join(dir, fmt.Sprintf("%0248d", i))))
	}
	top, err := OpenDir(unix.AT_FDCWD, dir)
	check(t, err)
	defer top.Close()
	var before, during runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	removed := 0
	check(t, empty(t.Context(), top, func(name string) error {
		if removed++; removed == 1 {
			runtime.GC()
			runtime.ReadMemStats(&during)
		}
		_, err := remove(top, name)
		return err
	}))
	if removed != many+1 {
		t.Errorf("%d of %d names were removed", removed, many+1)
	}
	if held := int64(during.HeapAlloc) - int64(before.HeapAlloc); held > 2*255*namesAtOnce {
		t.Errorf("%d bytes are held for %d names", held, many)
	}
}

// TestRemovalOfATree: directories are moved up under names that are not used yet.
func TestRemovalOfATree(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dir")
	for _, path := range []string{"1/1/1/1", "2/3/4/5", "a/b/c/d/e", "a/-1/f"} {
		check(t, os.MkdirAll(filepath.Join(dir, path), 0o700))
		check(t, os.WriteFile(filepath.Join(dir, path, "file"), nil, 0o600))
	}
	check(t, os.WriteFile(filepath.Join(dir, "a", "file"), nil, 0o600))
	check(t, Remove(t.Context(), dir))
	if _, err := os.Lstat(dir); !os.IsNotExist(err) {
		t.Errorf("it is left: %v", err)
	}
}

// TestRemovalThatFails: a mount point cannot be removed, and the error names it.
func TestRemovalThatFails(t *testing.T) {
	for _, path := range []string{"mounted", "a/mounted"} {
		dir := t.TempDir()
		point := filepath.Join(dir, path)
		check(t, os.MkdirAll(point, 0o700))
		if err := unix.Mount("none", point, "tmpfs", 0, "size=4k"); err != nil {
			t.Skipf("NOT RUN: a tree that cannot be removed: no tmpfs can be mounted: %v", err)
		}
		err := Remove(t.Context(), dir)
		check(t, unix.Unmount(point, unix.MNT_DETACH))
		if err == nil || !strings.Contains(err.Error(), "remove mounted: device or resource busy") {
			t.Errorf("%s: %v", path, err)
		}
		check(t, Remove(t.Context(), dir))
	}
}

// TestRemovalThatTakesTooLong ends with its request, and the next one goes on.
func TestRemovalThatTakesTooLong(t *testing.T) {
	dir := t.TempDir()
	check(t, os.MkdirAll(filepath.Join(dir, "a", "b"), 0o700))
	check(t, os.WriteFile(filepath.Join(dir, "a", "file"), nil, 0o600))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Remove(ctx, dir); api.KindOf(err) != api.KindTimeout || api.AsError(err).Hint == "" {
		t.Errorf("%v", err)
	}
	check(t, Remove(t.Context(), dir))
	if _, err := os.Lstat(dir); !os.IsNotExist(err) {
		t.Errorf("it is left: %v", err)
	}
}

// TestOpenDirOfAFile: what is not a directory is refused, and not waited for.
func TestOpenDirOfAFile(t *testing.T) {
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	check(t, os.Symlink(".", filepath.Join(dir, "link")))
	top, err := OpenDir(unix.AT_FDCWD, dir)
	check(t, err)
	defer top.Close()
	for _, name := range []string{"file", "link"} {
		if f, err := OpenDir(int(top.Fd()), name); err == nil {
			f.Close()
			t.Errorf("the %s was opened", name)
		}
	}
	if flags, err := unix.FcntlInt(top.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("other programs get it: %d, %v", flags, err)
	}
}

func TestRemovalOfALink(t *testing.T) {
	precious, dir := t.TempDir(), filepath.Join(t.TempDir(), "link")
	check(t, os.WriteFile(filepath.Join(precious, "file"), nil, 0o600))
	check(t, os.Symlink(precious, dir))
	if err := Remove(t.Context(), dir); err == nil {
		t.Error("a link was taken for a directory")
	}
	if err := Remove(t.Context(), filepath.Join(dir, "nothing")); err != nil {
		t.Errorf("what is not there: %v", err)
	}
	if _, err := os.Stat(filepath.Join(precious, "file")); err != nil {
		t.Error(err)
	}
}
