package fsx

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Swap moves the new directory to where an old one may be, which is then where
// the new one was. Programs that run keep the files they have open.
func Swap(new, old string) error {
	err := unix.Renameat2(unix.AT_FDCWD, new, unix.AT_FDCWD, old, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.ENOENT) {
		return os.Rename(new, old)
	}
	if errors.Is(err, unix.EINVAL) { // a file system that cannot (renameat2(2))
		if err := os.RemoveAll(old); err != nil {
			return err
		}
		return os.Rename(new, old)
	}
	return err
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
