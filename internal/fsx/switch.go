package fsx

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"banger/api"
)

// Swap moves the new directory to where an old one may be, which is then where the
// new one was, or gone. Programs that run keep the files they have open. An old one that
// is in use is there all the time, or the new one is: on a file system that cannot
// exchange two directories Swap returns an error of kind api.KindUnsupported instead.
func Swap(new, old string, inUse bool) error {
	err := unix.Renameat2(unix.AT_FDCWD, new, unix.AT_FDCWD, old, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.ENOENT) {
		return os.Rename(new, old)
	}
	if errors.Is(err, unix.EINVAL) { // a file system that cannot (renameat2(2))
		return replace(new, old, inUse)
	}
	return err
}

// replace is Swap where nothing can be exchanged.
func replace(new, old string, inUse bool) error {
	if inUse {
		return api.Errorf(api.KindUnsupported, "cannot replace %s while it is in use: its file system cannot exchange two directories", old).
			WithHint("install another version, then this one again; or put the directory on another file system, such as ext4: findmnt -T %s", old)
	}
	if err := os.RemoveAll(old); err != nil {
		return err
	}
	return os.Rename(new, old)
}

// Relink makes link a symbolic link to target, in one step and durably.
func Relink(target, link string) error {
	if now, err := os.Readlink(link); err == nil && now == target {
		return nil
	}
	temporary := filepath.Join(filepath.Dir(link), "."+filepath.Base(link)+".new")
	if err := os.Remove(temporary); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Symlink(target, temporary); err != nil {
		return err
	}
	if err := os.Rename(temporary, link); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(link))
}
