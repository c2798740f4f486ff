package roothelper

import (
	"errors"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// removeTree removes a directory with all that is in it. It follows no symbolic
// link, and takes two descriptors and no stack however deep it is: a VMM that a
// guest took over may have made a jail deeper than os.RemoveAll can stand. What
// lies deeper is moved up first.
func removeTree(path string) error {
	top, err := openDir(unix.AT_FDCWD, path)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer top.Close()
	moved := 0
	for {
		names, err := list(top)
		if err != nil {
			return err
		}
		if len(names) == 0 {
			return os.Remove(path)
		}
		for _, name := range names {
			if err := removeFrom(top, name, &moved); err != nil {
				return err
			}
		}
	}
}

// removeFrom removes an entry of a directory, and moves the directories that are
// in it up into that one.
func removeFrom(top *os.File, name string, moved *int) error {
	isDir, err := remove(top, name)
	if !isDir || err != nil {
		return err
	}
	dir, err := openDir(int(top.Fd()), name)
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := list(dir)
	if err != nil {
		return err
	}
	for _, inner := range names {
		isDir, err := remove(dir, inner)
		if err == nil && isDir {
			err = moveUp(dir, inner, top, moved)
		}
		if err != nil {
			return err
		}
	}
	_, err = remove(top, name)
	return err
}

// remove removes an entry, or says that it is a directory that is not empty.
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

// moveUp moves a directory into another, under a name that is free there.
func moveUp(from *os.File, name string, to *os.File, moved *int) error {
	for {
		*moved++
		err := unix.Renameat2(int(from.Fd()), name, int(to.Fd()), strconv.Itoa(*moved), unix.RENAME_NOREPLACE)
		if !errors.Is(err, unix.EEXIST) {
			return os.NewSyscallError("renameat2", err)
		}
	}
}

func openDir(dir int, name string) (*os.File, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// list names what is in a directory now.
func list(dir *os.File) ([]string, error) {
	if _, err := dir.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return dir.Readdirnames(-1)
}
