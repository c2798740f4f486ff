package filecopy

import (
	"errors"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// beneath resolves names below a directory, by openat2(2): the kernel refuses a name
// that leads outside, even if directories are renamed concurrently.
type beneath struct {
	dir     *os.File
	resolve uint64
	last    *os.File // the directory of the last name, which is often that of the next
	name    string
}

// openBeneath opens dir, whose own path may contain symbolic links. With follow, links
// below it are followed if they stay inside; otherwise none is.
func openBeneath(dir string, follow bool) (*beneath, error) {
	f, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	b := &beneath{dir: f, resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS}
	switch {
	case !follow:
		b.resolve |= unix.RESOLVE_NO_SYMLINKS
	case path.Clean(dir) == "/":
		// Everything is below /, and a link such as /var/run to /run is normal.
		b.resolve = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS
	}
	return b, nil
}

func (b *beneath) close() {
	b.forget()
	b.dir.Close()
}

func (b *beneath) forget() {
	if b.last != nil {
		b.last.Close()
	}
	b.last, b.name = nil, ""
}

// parent opens the directory that contains name and returns it with the last element.
// It is valid until the next call.
func (b *beneath) parent(name string) (*os.File, string, error) {
	dir, base := path.Split(name)
	dir = strings.TrimSuffix(dir, "/")
	if dir == "" {
		return b.dir, base, nil
	}
	if b.last != nil && b.name == dir {
		return b.last, base, nil
	}
	f, err := b.open(dir, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, "", err
	}
	b.forget()
	b.last, b.name = f, dir
	return f, base, nil
}

func (b *beneath) open(name string, flags uint64) (*os.File, error) {
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: b.resolve}
	for {
		fd, err := unix.Openat2(int(b.dir.Fd()), name, &how)
		switch {
		case err == unix.EINTR, err == unix.EAGAIN: // a directory of the path was renamed (openat2(2))
			continue
		case err == unix.EXDEV:
			return nil, refuse(name, "it leads outside the directory")
		case err == unix.ELOOP:
			return nil, refuse(name, "its path contains a symbolic link")
		case err != nil:
			return nil, &os.PathError{Op: "open", Path: Quote(name), Err: err}
		}
		return os.NewFile(uintptr(fd), name), nil
	}
}

// lstat returns the attributes of name itself.
func (b *beneath) lstat(name string) (unix.Stat_t, error) {
	var st unix.Stat_t
	dir, base, err := b.parent(name)
	if err == nil {
		err = unix.Fstatat(int(dir.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW)
	}
	return st, err
}

// isDir reports whether name is a directory or, if links are followed, a link to one.
func (b *beneath) isDir(name string) bool {
	f, err := b.open(name, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// mkdirAll makes name and its missing parents, with mode 0755.
func (b *beneath) mkdirAll(name string) error {
	if name == "." || name == "" || b.isDir(name) {
		return nil
	}
	if dir := path.Dir(name); dir != "." {
		if err := b.mkdirAll(dir); err != nil {
			return err
		}
	}
	dir, base, err := b.parent(name)
	if err != nil {
		return err
	}
	err = unix.Mkdirat(int(dir.Fd()), base, 0o755)
	if errors.Is(err, unix.EEXIST) {
		err = notDir(name)
	}
	return named(name, err)
}

func notDir(name string) error {
	return &os.PathError{Op: "use", Path: Quote(name), Err: unix.ENOTDIR}
}
