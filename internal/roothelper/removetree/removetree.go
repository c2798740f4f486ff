// Package removetree removes directories that a VMM, which a guest may have taken over, has
// filled.
package removetree

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"banger/api"
)

// Remove removes a directory with its contents. If ctx ends first it returns an error,
// and can be called again. It does not follow symbolic links, and needs two descriptors, no
// stack for deep trees and little memory for large ones: a VMM that a guest took over may
// have made a jail that is too deep for os.RemoveAll, or has millions of names. Deeper
// directories are moved up first.
func Remove(ctx context.Context, path string) error {
	top, err := OpenDir(unix.AT_FDCWD, path)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer top.Close()
	moved := 0
	err = empty(ctx, top, func(name string) error { return removeFrom(ctx, top, name, &moved) })
	if err != nil {
		return err
	}
	return os.Remove(path)
}

// removeFrom removes an entry of a directory, and moves the directories in it up into that
// directory.
func removeFrom(ctx context.Context, top *os.File, name string, moved *int) error {
	isDir, err := remove(top, name)
	if !isDir || err != nil {
		return err
	}
	dir, err := OpenDir(int(top.Fd()), name)
	if err != nil {
		return err
	}
	defer dir.Close()
	err = empty(ctx, dir, func(inner string) error {
		isDir, err := remove(dir, inner)
		if err == nil && isDir {
			err = moveUp(dir, inner, top, moved)
		}
		return err
	})
	if err != nil {
		return err
	}
	_, err = remove(top, name)
	return err
}

// namesAtOnce is how many names of a directory are in memory: a name has at most 255
// bytes (NAME_MAX), so that is a megabyte.
const namesAtOnce = 4096

// empty calls remove for each name in a directory, some thousands at a time, until the
// directory is empty.
func empty(ctx context.Context, dir *os.File, remove func(name string) error) error {
	for {
		if _, err := dir.Seek(0, io.SeekStart); err != nil {
			return err
		}
		names, err := dir.Readdirnames(namesAtOnce)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, name := range names {
			if ctx.Err() != nil {
				return api.Errorf(api.KindTimeout, "it has too many entries to remove in this time: %w", context.Cause(ctx)).
					WithHint("try again: each try continues where the last one ended")
			}
			if err := remove(name); err != nil {
				return err
			}
		}
	}
}

// remove removes an entry, or reports that it is a directory that is not empty.
func remove(dir *os.File, name string) (full bool, err error) {
	err = unix.Unlinkat(int(dir.Fd()), name, 0)
	if errors.Is(err, unix.EISDIR) { // unlink(2)
		err = unix.Unlinkat(int(dir.Fd()), name, unix.AT_REMOVEDIR)
	}
	switch {
	case err == nil || errors.Is(err, unix.ENOENT):
		return false, nil
	case errors.Is(err, unix.ENOTEMPTY):
		return true, nil
	}
	return false, &os.PathError{Op: "remove", Path: name, Err: err}
}

// moveUp moves a directory into another, under an unused name.
func moveUp(from *os.File, name string, to *os.File, moved *int) error {
	for {
		*moved++
		err := unix.Renameat2(int(from.Fd()), name, int(to.Fd()), strconv.Itoa(*moved), unix.RENAME_NOREPLACE)
		if !errors.Is(err, unix.EEXIST) {
			return os.NewSyscallError("renameat2", err)
		}
	}
}

// OpenDir opens a directory below another one, and no symbolic link in its place.
func OpenDir(dir int, name string) (*os.File, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}
