package fsx

import (
	"os"

	"golang.org/x/sys/unix"

	"banger/api"
)

// RefuseFUSE returns an error of kind api.KindInvalid for a file in a file system in
// user space (fuse(4), also virtiofs): access by root would wait for its program, which
// may belong to any user and may never answer. what names the file. It does not wait
// for a program of a user who mounted without allow_other, which root has to permit
// (fuse.conf in mount.fuse3(8)); for others it may wait, so the caller must not hold
// locks of other files. Network file systems are accepted: only root mounts them.
func RefuseFUSE(what string, f *os.File) error {
	var st unix.Statfs_t
	for {
		err := unix.Fstatfs(int(f.Fd()), &st)
		if err == unix.EINTR {
			continue
		}
		if err != nil && err != unix.ENOTCONN { // a FUSE file system whose program has ended
			return api.Errorf(api.KindInvalid, "the %s cannot be examined: %w", what, err)
		}
		if err != nil || st.Type == unix.FUSE_SUPER_MAGIC {
			return api.Errorf(api.KindInvalid, "the %s is in a file system in user space (FUSE), which may never answer", what).
				WithHint("store banger's data on a file system such as ext4, xfs or btrfs: findmnt -T /var/lib/banger/data")
		}
		return nil
	}
}
