package rootfs

import (
	"archive/tar"
	"errors"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func times(h *tar.Header) []unix.Timespec {
	t := unix.Timespec{Sec: h.ModTime.Unix(), Nsec: int64(h.ModTime.Nanosecond())}
	return []unix.Timespec{t, t}
}

// setOwner gives a file its owner. If the owner is beyond the ids that may be used, it
// is deferred, and the file belongs to root in the tree. The root directory always
// belongs to root.
func (t *hostTree) setOwner(h *tar.Header, chown func(uid, gid int) error) error {
	if validOwner(h) { // chown(2) would use the lower 32 bits of any other
		if err := chown(h.Uid, h.Gid); !errors.Is(err, unix.EINVAL) {
			return err
		}
	}
	if h.Name != "." && !t.pending.has(h.Name) && !t.pending.add(h, 0) { // a device's owner is deferred with the device
		t.s.Owners++
	}
	return chown(0, 0)
}

// countAttrError counts extended attributes that have no meaning here or are too large:
// ext4 has one block for all attributes of a file, and reports a full disk if they do
// not fit.
func (t *hostTree) countAttrError(err error) error {
	if errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.ENOSPC) && t.diskFull() {
		return err
	}
	if err != nil {
		t.s.Attrs++
	}
	return nil
}

// diskFull reports whether the disk is too full for a file's attributes.
func (t *hostTree) diskFull() bool {
	var st unix.Statfs_t
	err := unix.Fstatfs(t.root, &st)
	return err != nil || int64(st.Bavail)*st.Bsize < mib
}

// attrRecords returns a file's extended attributes as PAX records.
func attrRecords(fd int) (map[string]string, error) {
	names, err := attrNames(fd)
	records := map[string]string{}
	for _, name := range names {
		value := make([]byte, 64<<10) // XATTR_SIZE_MAX of limits.h
		n, err := unix.Fgetxattr(fd, name, value)
		if err != nil {
			return nil, os.NewSyscallError("getxattr", err)
		}
		records["SCHILY.xattr."+name] = string(value[:n])
	}
	return records, err
}

func timeOf(t unix.Timespec) time.Time { return time.Unix(t.Sec, t.Nsec) }

// attrs returns an entry's extended attributes.
func attrs(h *tar.Header) func(yield func(string, []byte) bool) {
	return func(yield func(string, []byte) bool) {
		for key, value := range h.PAXRecords {
			if attr, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok && !yield(attr, []byte(value)) {
				return
			}
		}
	}
}

// setAttrs sets owner, mode, extended attributes and times of the file base in the open
// directory, in this order: a new owner clears the setuid bit and capabilities. The
// high bits of h.Mode are those of chmod(2).
func (t *hostTree) setAttrs(fd int, base string, h *tar.Header) error {
	if err := t.setOwner(h, func(uid, gid int) error { return unix.Fchown(fd, uid, gid) }); err != nil {
		return err
	}
	if err := t.clearInheritedACLs(func(name string) error { return unix.Fremovexattr(fd, name) }); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, uint32(h.Mode)&0o7777); err != nil {
		return err
	}
	for name, value := range attrs(h) {
		t.acls = t.acls || name == defaultACL
		if err := t.countAttrError(unix.Fsetxattr(fd, name, value, 0)); err != nil {
			return err
		}
	}
	return t.setTimes(base, h)
}

// The attributes that store ACLs (acl(5)).
const (
	accessACL  = "system.posix_acl_access"
	defaultACL = "system.posix_acl_default"
)

// clearInheritedACLs removes the ACLs that a new file inherited from its directory: its
// own entry lists the ACLs that it has.
func (t *hostTree) clearInheritedACLs(remove func(name string) error) error {
	if !t.acls {
		return nil
	}
	return dropACLs(remove)
}

func dropACLs(remove func(name string) error) error {
	for _, name := range []string{accessACL, defaultACL} {
		if err := remove(name); err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.ENOTSUP) {
			return os.NewSyscallError("removexattr", err)
		}
	}
	return nil
}

func (t *hostTree) setTimes(base string, h *tar.Header) error {
	return unix.UtimesNanoAt(t.fd, base, times(h), unix.AT_SYMLINK_NOFOLLOW)
}

// setAttrsAt does the same for files that are not opened: symbolic links, devices,
// fifos. Their directory is open, and was entered without following links.
func (t *hostTree) setAttrsAt(h *tar.Header) error {
	base := path.Base(h.Name)
	err := t.setOwner(h, func(uid, gid int) error { return unix.Fchownat(t.fd, base, uid, gid, unix.AT_SYMLINK_NOFOLLOW) })
	if err != nil {
		return err
	}
	name := path.Join(t.path, h.Name)
	if h.Typeflag != tar.TypeSymlink {
		if err := t.clearInheritedACLs(func(attr string) error { return unix.Lremovexattr(name, attr) }); err != nil {
			return err
		}
		if err := unix.Fchmodat(t.fd, base, uint32(h.Mode)&0o7777, 0); err != nil {
			return err
		}
	}
	for attr, value := range attrs(h) {
		if err := t.countAttrError(unix.Lsetxattr(name, attr, value, 0)); err != nil {
			return err
		}
	}
	return t.setTimes(base, h)
}

// dropAttrs removes the extended attributes that an entry may set.
func dropAttrs(fd int) error {
	names, err := attrNames(fd)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "system.") && name != "security.capability" {
			continue
		}
		if err := unix.Fremovexattr(fd, name); err != nil && err != unix.ENODATA {
			return os.NewSyscallError("removexattr", err)
		}
	}
	return nil
}

// attrNames lists a file's extended attributes.
func attrNames(fd int) ([]string, error) {
	list := make([]byte, 64<<10) // XATTR_LIST_MAX of limits.h
	n, err := unix.Flistxattr(fd, list)
	if errors.Is(err, unix.ENOTSUP) || err == nil && n == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, os.NewSyscallError("listxattr", err)
	}
	return splitNames(list[:n]), nil
}

// splitNames splits a list of NUL-terminated names.
func splitNames(list []byte) []string {
	return strings.FieldsFunc(string(list), func(r rune) bool { return r == 0 })
}
