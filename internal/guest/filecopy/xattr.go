package filecopy

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// maxXattrs bounds the attributes of one file in bytes: Linux allows 64 KiB of names
// (XATTR_LIST_MAX), ext4 one block for everything.
const maxXattrs = 64 << 10

// xattrBytes returns the size of attributes for the limit maxXattrs.
func xattrBytes(all map[string]string) int {
	n := 0
	for name, value := range all {
		n += len(name) + len(value)
	}
	return n
}

// portable reports whether an attribute has the same meaning at the other end: those of
// users always, capabilities and access lists if owners are preserved (xattr(7)).
func portable(name string, archive bool) bool {
	switch name {
	case "security.capability", "system.posix_acl_access", "system.posix_acl_default":
		return archive
	}
	return strings.HasPrefix(name, "user.")
}

// xattrs reads the attributes of a file or directory that are sent.
func xattrs(file string) (map[string]string, error) {
	n, err := unix.Llistxattr(file, nil)
	if errors.Is(err, unix.ENOTSUP) || n == 0 && err == nil {
		return nil, nil
	}
	names := make([]byte, maxXattrs)
	if err == nil {
		n, err = unix.Llistxattr(file, names)
	}
	if err != nil {
		return nil, err
	}
	found, total := map[string]string{}, 0
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00") {
		if !portable(name, true) {
			continue
		}
		value := make([]byte, maxXattrs)
		n, err := unix.Lgetxattr(file, name, value)
		if errors.Is(err, unix.ENODATA) {
			continue // removed in the meantime
		}
		if err != nil {
			return nil, err
		}
		if total += len(name) + n; total > maxXattrs {
			return nil, fmt.Errorf("it has more than %d bytes of extended attributes", maxXattrs)
		}
		found[name] = string(value[:n])
	}
	return found, nil
}

// setXattrs sets attributes. A file system without attributes loses them, which is
// reported once.
func (t *target) setXattrs(f *os.File, e Entry) error {
	for name, value := range e.Xattrs {
		if !portable(name, t.owners) {
			continue
		}
		err := unix.Fsetxattr(int(f.Fd()), name, []byte(value), 0)
		if errors.Is(err, unix.ENOTSUP) {
			if !t.noXattrs {
				t.warn(e.Name, "has extended attributes, which this file system does not support")
			}
			t.noXattrs = true
			continue
		}
		if err != nil {
			return fmt.Errorf("cannot set its attribute %s: %w", Quote(name), err)
		}
	}
	return nil
}
