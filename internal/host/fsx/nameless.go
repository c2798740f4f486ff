package fsx

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Nameless opens a file in dir that has no name: nothing is left of it when it is closed,
// whatever becomes of this process.
func Nameless(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	switch {
	case err == nil:
		return os.NewFile(uintptr(fd), dir), nil
	case !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR): // open(2), O_TMPFILE
		return nil, &os.PathError{Op: "open a file in", Path: dir, Err: err}
	}
	f, err := os.CreateTemp(dir, ".nameless-*") // a file system that cannot
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}
