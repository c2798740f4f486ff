package fsx

import (
	"os"

	"golang.org/x/sys/unix"

	"banger/api"
)

// RefuseFUSE returns an error of kind api.KindInvalid for a file in a file system
// that is a program (fuse(4), virtiofs too): what root does with such a file waits for
// that program, which may be anybody's and may never answer. what names the file.
// It asks no program of a user who did not mount with allow_other, which takes root's
// leave (fuse.conf in mount.fuse3(8)); of others it may wait, so no lock of other
// files' is held meanwhile. Network file systems pass: only root mounts those.
func RefuseFUSE(what string, f *os.File) error {
	var st unix.Statfs_t
	for {
		err := unix.Fstatfs(int(f.Fd()), &st)
		if err == unix.EINTR {
			continue
		}
		if err != nil && err != unix.ENOTCONN { // of a FUSE whose program has ended
			return api.Errorf(api.KindInvalid, "the %s cannot be looked at: %w", what, err)
		}
		if err != nil || st.Type == unix.FUSE_SUPER_MAGIC {
			return api.Errorf(api.KindInvalid, "the %s is in a file system in user space (FUSE), which may never answer", what).
				WithHint("keep banger's data on a disk, such as ext4, xfs or btrfs: findmnt -T /var/lib/banger/data")
		}
		return nil
	}
}
