package bootup

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const runDir = "/run"

// stagedRun is the directory in which the new /run is filled before it is moved there.
const stagedRun = "/dev/.banger-run"

// mountRun mounts a new /run with the image's content, in particular directories in which services
// of other users create their sockets. It is filled in the directory staged, which mountRun
// creates. Files that cannot be copied are an error; /run is mounted nevertheless.
func mountRun(m mount, staged string) error {
	target := m.target
	m.target = staged
	if err := makeDir(staged); err != nil {
		return err
	}
	defer os.Remove(staged)
	if err := m.mount(); err != nil {
		return err
	}
	var copied error
	var st unix.Statfs_t
	if err := unix.Statfs(staged, &st); err != nil {
		copied = err
	} else {
		// A quarter of it: the rest is for programs.
		c := copyUp{left: int64(st.Blocks) * st.Bsize / 4, links: map[uint64]string{}}
		copied = c.dir(target, staged)
	}
	if copied != nil {
		copied = fmt.Errorf("copy what the image has in %s: %w", target, copied)
	}
	if err := unix.Mount(staged, target, "", unix.MS_MOVE, ""); err != nil {
		return errors.Join(copied, fmt.Errorf("mount %s: %w", target, err))
	}
	return copied
}

// copyUp copies a tree completely, except sockets, on which nobody listens.
type copyUp struct {
	left  int64             // bytes that may still be copied
	links map[uint64]string // the copies of inodes with several names
}

// dir copies the content and attributes of a directory to an existing one.
func (c *copyUp) dir(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := c.entry(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	var st unix.Stat_t
	if err := unix.Stat(from, &st); err != nil { // /run itself may be a symbolic link
		return err
	}
	return copyMetadata(from, to, st)
}

func (c *copyUp) entry(from, to string) error {
	var st unix.Stat_t
	if err := unix.Lstat(from, &st); err != nil {
		return &os.PathError{Op: "stat", Path: from, Err: err}
	}
	kind := st.Mode & unix.S_IFMT
	if kind != unix.S_IFDIR && st.Nlink > 1 {
		if first, ok := c.links[st.Ino]; ok {
			return os.Link(first, to)
		}
		c.links[st.Ino] = to
	}
	var err error
	switch kind {
	case unix.S_IFSOCK:
		return nil
	case unix.S_IFDIR:
		if err := os.Mkdir(to, 0o700); err != nil {
			return err
		}
		return c.dir(from, to)
	case unix.S_IFREG:
		err = c.file(from, to, st.Size)
	case unix.S_IFLNK:
		var target string
		if target, err = os.Readlink(from); err == nil {
			err = os.Symlink(target, to)
		}
	default:
		if err = unix.Mknod(to, st.Mode, int(st.Rdev)); err != nil {
			err = &os.PathError{Op: "mknod", Path: to, Err: err}
		}
	}
	if err != nil {
		return err
	}
	return copyMetadata(from, to, st)
}

func (c *copyUp) file(from, to string, size int64) error {
	if c.left -= size; c.left < 0 {
		return fmt.Errorf("%s does not fit: it and the files before it would take more than a quarter of the space there", from)
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// copyMetadata gives a copy the owner, extended attributes, mode and times of st.
func copyMetadata(from, to string, st unix.Stat_t) error {
	if err := os.Lchown(to, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if err := copyAttrs(from, to); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := unix.Chmod(to, st.Mode&0o7777); err != nil {
			return &os.PathError{Op: "chmod", Path: to, Err: err}
		}
	}
	err := unix.UtimesNanoAt(unix.AT_FDCWD, to, []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return &os.PathError{Op: "utimensat", Path: to, Err: err}
	}
	return nil
}

// copyAttrs copies extended attributes, except those that a tmpfs does not support.
func copyAttrs(from, to string) error {
	read := func(call func([]byte) (int, error)) ([]byte, error) {
		n, err := call(nil)
		if err != nil || n == 0 {
			return nil, err
		}
		data := make([]byte, n)
		n, err = call(data)
		return data[:max(0, n)], err
	}
	// The image's /run may be a symbolic link, whose own attributes are irrelevant.
	list, err := read(func(b []byte) (int, error) { return unix.Llistxattr(from, b) })
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "listxattr", Path: from, Err: err}
	}
	for name := range strings.SplitSeq(string(list), "\x00") {
		if name == "" {
			continue
		}
		value, err := read(func(b []byte) (int, error) { return unix.Lgetxattr(from, name, b) })
		if err != nil {
			return &os.PathError{Op: "getxattr", Path: from, Err: err}
		}
		if err := unix.Lsetxattr(to, name, value, 0); err != nil && err != unix.ENOTSUP {
			return &os.PathError{Op: "setxattr", Path: to, Err: err}
		}
	}
	return nil
}
