package image

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// hostTree unpacks into this process's root directory: the process has entered
// the staging directory, so that symbolic links, too, end within it.
type hostTree struct{}

func abs(name string) string { return path.Join("/", name) }

// clear makes way for a new entry, and makes its directory where the archive
// has not named it.
func clear(name string) error {
	p := abs(name)
	err := os.Remove(p)
	if errors.Is(err, os.ErrNotExist) {
		return os.MkdirAll(path.Dir(p), 0o755)
	}
	return err
}

func (hostTree) mkdir(name string) error {
	if info, err := os.Lstat(abs(name)); err == nil && info.IsDir() {
		return nil
	}
	if err := clear(name); err != nil {
		return err
	}
	return os.Mkdir(abs(name), 0o755)
}

func (hostTree) file(name string, content io.Reader) error {
	if err := clear(name); err != nil {
		return err
	}
	f, err := os.OpenFile(abs(name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(writeSparse(f, content), f.Close())
}

func (hostTree) symlink(target, name string) error {
	if err := clear(name); err != nil {
		return err
	}
	return os.Symlink(target, abs(name))
}

func (hostTree) link(target, name string) error {
	if path.Clean(target) == name {
		return errors.New("a hard link to itself")
	}
	if err := clear(name); err != nil {
		return err
	}
	return os.Link(abs(target), abs(name))
}

func (hostTree) node(name string, mode uint32, dev uint64) (bool, error) {
	if err := clear(name); err != nil {
		return false, err
	}
	err := unix.Mknod(abs(name), mode|0o600, int(dev))
	if errors.Is(err, unix.EPERM) && mode != unix.S_IFIFO {
		return false, nil
	}
	return true, err
}

func (hostTree) exists(name string) bool {
	_, err := os.Lstat(abs(name))
	return err == nil
}

func (hostTree) attributes(name string, h *tar.Header, s *summary) error {
	p := abs(name)
	switch err := unix.Lchown(p, h.Uid, h.Gid); {
	case errors.Is(err, unix.EINVAL):
		s.Owners++
	case err != nil:
		return err
	}
	if h.Typeflag != tar.TypeSymlink {
		// After chown, which clears the setuid bit. The high bits of h.Mode are those of chmod(2).
		if err := unix.Chmod(p, uint32(h.Mode)&0o7777); err != nil {
			return err
		}
	}
	for key, value := range h.PAXRecords {
		attr, ok := strings.CutPrefix(key, "SCHILY.xattr.")
		if !ok {
			continue
		}
		err := unix.Lsetxattr(p, attr, []byte(value), 0)
		if errors.Is(err, unix.ENOSPC) {
			return err
		}
		if err != nil {
			s.Attrs++
		}
	}
	when := unix.NsecToTimespec(h.ModTime.UnixNano())
	return unix.UtimesNanoAt(unix.AT_FDCWD, p, []unix.Timespec{when, when}, unix.AT_SYMLINK_NOFOLLOW)
}

func device(major, minor int64) uint64 { return unix.Mkdev(uint32(major), uint32(minor)) }

// writeSparse writes content, with holes for blocks of zeros.
func writeSparse(f *os.File, content io.Reader) error {
	const block = 4096
	buf := make([]byte, 64*block)
	var size int64
	for {
		n, err := io.ReadFull(content, buf)
		for at := 0; at < n; at += block {
			part := buf[at:min(at+block, n)]
			if !allZero(part) {
				if _, err := f.WriteAt(part, size+int64(at)); err != nil {
					return err
				}
			}
		}
		size += int64(n)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return f.Truncate(size)
		}
		if err != nil {
			return err
		}
	}
}

func allZero(p []byte) bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}
