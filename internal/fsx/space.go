package fsx

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"banger/api"
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

// DiskError wraps a failed write, as api.KindNoSpace where the disk or the
// user's quota is full. The cause names the file; its kind stays where it has one.
func DiskError(verb string, err error) error {
	if err == nil {
		return nil
	}
	if IsNoSpace(err) {
		return api.Errorf(api.KindNoSpace, "cannot %s: %w", verb, err).
			WithHint("free space there, for example with `banger image prune`")
	}
	return api.Errorf(api.KindOf(err), "cannot %s: %w", verb, err)
}
