package fsx

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"banger/api"
)

// Swap moves a new directory to the place of an old one, if any; the old one is then at
// the new one's place, or removed. Running programs keep their open files. The place
// always contains the old or the new directory, if the old one is in use: on a file
// system that cannot exchange two directories Swap then returns an error of kind
// api.KindUnsupported.
func Swap(new, old string, inUse bool) error {
	err := unix.Renameat2(unix.AT_FDCWD, new, unix.AT_FDCWD, old, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.ENOENT) {
		return os.Rename(new, old)
	}
	if errors.Is(err, unix.EINVAL) { // not supported by the file system (renameat2(2))
		return replace(new, old, inUse)
	}
	return err
}

// replace is Swap for file systems without an exchange.
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

// Relink makes link a symbolic link to target, atomically and durably.
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
