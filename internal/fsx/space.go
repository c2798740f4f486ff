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

// NeedSpace says whether the file system of dir has room for n more bytes; an
// error of kind api.KindNoSpace names the directory and what is needed.
func NeedSpace(dir string, n int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("look at the space in %s: %w", dir, err)
	}
	free := int64(st.Bavail) * st.Bsize
	if free >= n {
		return nil
	}
	return api.Errorf(api.KindNoSpace, "the disk is full: %s needs %d MiB and has %d MiB free", dir, (n+1<<20-1)>>20, free>>20).
		WithHint("free space there, for example with `banger image prune`")
}

// IsNoSpace says whether a disk, or the user's share of it, is full: ENOSPC, EDQUOT
// (errno(3)), or an error that somebody has called that already.
func IsNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || api.KindOf(err) == api.KindNoSpace
}

// TooLong is the error of a file that would be longer than its file system or a limit of
// the process allows (EFBIG). It is of kind api.KindNoSpace, though no room would help.
func TooLong(what string, err error) *api.Error {
	return api.Errorf(api.KindNoSpace, "%s: the file would be longer than its file system or a limit (ulimit -f) allows: %w", what, err).
		WithHint("choose a smaller disk, raise the limit and `banger daemon stop`, or set BANGER_HOME to a directory on another file system, such as XFS")
}

// NeedLength says whether a file in dir can be n bytes long, with an error of TooLong where
// it cannot. It needs no room, and leaves nothing behind.
func NeedLength(dir string, n int64) error {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil // a file system that cannot, or is full: what needs the file will say so
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, n); errors.Is(err, unix.EFBIG) {
		return TooLong("cannot use a file of "+size.Format(n)+" in "+dir, err)
	}
	return nil
}

// DiskError wraps a failed write, as api.KindNoSpace where the disk or the
// user's quota is full. The cause names the file; its kind stays where it has one.
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
			WithHint("findmnt -T %s   shows what is mounted read-only; or set BANGER_HOME to a directory you can write", at.Path)
	case errors.Is(err, fs.ErrPermission):
		return api.Errorf(api.KindDenied, "cannot %s: %w", verb, err).
			WithHint("ls -ld %s   shows whose it is; give it back, or set BANGER_HOME to a directory you can write", filepath.Dir(at.Path))
	}
	return api.Errorf(kind, "cannot %s: %w", verb, err)
}
