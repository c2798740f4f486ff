package fsx

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/size"
)

// NeedSpace returns an error if the file system of dir has no space for n more bytes;
// its kind is api.KindNoSpace, and it names the directory and the needed space.
func NeedSpace(dir string, n int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("read the free space in %s: %w", dir, err)
	}
	free := int64(st.Bavail) * st.Bsize
	if free >= n {
		return nil
	}
	return api.Errorf(api.KindNoSpace, "the disk is full: %s needs %d MiB, but has %d MiB free", dir, (n+1<<20-1)>>20, free>>20).
		WithHint("free space there, for example with `banger image prune`")
}

// IsNoSpace reports whether a disk, or the user's quota, is full: ENOSPC, EDQUOT
// (errno(3)), or an error of kind api.KindNoSpace.
func IsNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || api.KindOf(err) == api.KindNoSpace
}

// TooLong is the error of a file that would be longer than its file system or a limit
// of the process allows (EFBIG). Its kind is api.KindNoSpace, though free space would
// not help.
func TooLong(what string, err error) *api.Error {
	return api.Errorf(api.KindNoSpace, "%s: the file would be longer than its file system or a limit (ulimit -f) allows: %w", what, err).
		WithHint("choose a smaller disk, raise the limit and `banger daemon stop`, or set BANGER_HOME to a directory on another file system, such as XFS")
}

// NeedLength returns an error of TooLong if a file in dir cannot be n bytes long. It
// needs no space, and leaves nothing behind.
func NeedLength(dir string, n int64) error {
	f, err := Nameless(dir)
	if err != nil {
		return nil // no test is possible: the later use of the file reports the error
	}
	defer f.Close()
	if err := f.Truncate(n); errors.Is(err, syscall.EFBIG) {
		return TooLong("cannot use a file of "+size.Format(n)+" in "+dir, err)
	}
	return nil
}

// DiskError wraps a failed write, with kind api.KindNoSpace if the disk or the user's
// quota is full. The cause names the file; an error that has a kind keeps it.
func DiskError(verb string, err error) error {
	if err == nil {
		return nil
	}
	switch {
	case IsNoSpace(err):
		return api.Errorf(api.KindNoSpace, "cannot %s: %w", verb, err).
			WithHint("free space there, for example with `banger image prune`")
	case errors.Is(err, syscall.EFBIG):
		return TooLong("cannot "+verb, err)
	}
	kind := api.KindOf(err)
	var at *fs.PathError
	switch {
	case !errors.As(err, &at):
	case errors.Is(err, syscall.EROFS):
		return api.Errorf(api.KindDenied, "cannot %s: %w", verb, err).
			WithHint("findmnt -T %s   shows what is mounted read-only; or set BANGER_HOME to a directory you can write to", at.Path)
	case errors.Is(err, fs.ErrPermission):
		return api.Errorf(api.KindDenied, "cannot %s: %w", verb, err).
			WithHint("ls -ld %s   shows the owner; change it back, or set BANGER_HOME to a directory you can write to", filepath.Dir(at.Path))
	}
	return api.Errorf(kind, "cannot %s: %w", verb, err)
}
