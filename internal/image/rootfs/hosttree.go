package rootfs

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"banger/internal/host/fsx"
)

// hostTree unpacks into a directory. In the job this is the process's root, so that no
// name reaches anything outside. Directories are entered one by one and never through a
// symbolic link, so that an archive cannot redirect where another entry is written.
//
// It keeps the directory open that it last worked in, with the times that it has to
// get: creating files in a directory changes its times, so they are set again on
// leaving it. So directories keep the times of their own entries, without a list of all
// directories.
type hostTree struct {
	path string
	root int
	at   string // the open directory
	dirFD
	s       *Summary
	pending pendingAttrs
	acls    bool // a directory has a default ACL, which new files inherit
	buffer  []byte
	// layered lets a directory replace a file of a layer below.
	layered bool
	known   resolvedDir
}

// dirFD is an open directory and the times it has to get.
type dirFD struct {
	fd      int
	times   []unix.Timespec
	changed bool
}

const (
	openDir = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	closed  = -1
)

func newHostTree(dir string) (*hostTree, error) {
	root, err := unix.Open(dir, openDir, 0)
	if err != nil {
		return nil, os.NewSyscallError("open", err)
	}
	// The host's directory may have default ACLs, too.
	if err := dropACLs(func(name string) error { return unix.Fremovexattr(root, name) }); err != nil {
		unix.Close(root)
		return nil, err
	}
	return &hostTree{path: dir, root: root, dirFD: dirFD{fd: closed}, s: &Summary{}, buffer: make([]byte, 64*fsx.HoleBytes)}, nil
}

func (t *hostTree) close() error {
	err := t.leave()
	return errors.Join(err, unix.Close(t.root))
}

// enter opens the directory of that name, and creates it if asked to.
func (t *hostTree) enter(name string, create bool) error {
	if t.fd != closed && t.at == name {
		return nil
	}
	if err := t.leave(); err != nil {
		return err
	}
	d, err := t.walk(name, create)
	if err == nil {
		t.at, t.dirFD = name, d
	}
	return err
}

func (t *hostTree) leave() error {
	if t.fd == closed {
		return nil
	}
	d := t.dirFD
	t.fd = closed
	return d.leave()
}

// leave restores a directory's times, and closes it.
func (d dirFD) leave() (err error) {
	if d.changed {
		err = os.NewSyscallError("utimensat", unix.UtimesNanoAt(d.fd, ".", d.times, 0))
	}
	return errors.Join(err, unix.Close(d.fd))
}

// newDir takes over an open directory.
func newDir(fd int) (dirFD, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return dirFD{}, os.NewSyscallError("stat", err)
	}
	return dirFD{fd: fd, times: []unix.Timespec{st.Atim, st.Mtim}}, nil
}

// walk opens a directory, one component after the other.
func (t *hostTree) walk(name string, create bool) (dirFD, error) {
	fd, err := unix.Openat(t.root, ".", openDir, 0)
	if err != nil {
		return dirFD{}, os.NewSyscallError("open", err)
	}
	d, err := newDir(fd)
	if err != nil || name == "." {
		return d, err
	}
	for at, part := range parts(name) {
		next, err := d.step(part, create)
		if errors.Is(err, unix.ENOTDIR) && create && t.layered && d.mode(part) != unix.S_IFLNK {
			t.pending.forget(at)
			if err = os.NewSyscallError("unlinkat", unix.Unlinkat(d.fd, part, 0)); err == nil {
				next, err = d.step(part, create)
			}
		}
		if d.changed && err == nil { // it was created
			t.pending.forget(at)
			err = t.resetInherited(next.fd)
		}
		err = errors.Join(err, d.leave())
		if err != nil {
			if next.fd > 0 {
				unix.Close(next.fd)
			}
			return dirFD{}, fmt.Errorf("%.200q: %w", at, err)
		}
		d = next
	}
	return d, nil
}

// resetInherited makes a new directory root's, with mode 0755, whatever it inherits: no
// entry sets anything else.
func (t *hostTree) resetInherited(fd int) error {
	if err := unix.Fchown(fd, 0, 0); err != nil {
		return err
	}
	if err := t.clearInheritedACLs(func(name string) error { return unix.Fremovexattr(fd, name) }); err != nil {
		return err
	}
	return unix.Fchmod(fd, 0o755)
}

// parts yields the components of a name, each after the path up to it.
func parts(name string) func(yield func(string, string) bool) {
	return func(yield func(string, string) bool) {
		for start := 0; start <= len(name); {
			end := start + strings.IndexByte(name[start:]+"/", '/')
			if !yield(name[:end], name[start:end]) {
				return
			}
			start = end + 1
		}
	}
}

var errSymlink = errors.New("it is a symbolic link, which is not followed")

// step opens a directory in d.
func (d *dirFD) step(name string, create bool) (dirFD, error) {
	fd, err := unix.Openat(d.fd, name, openDir, 0)
	if err == unix.ENOENT && create {
		d.changed = true
		if err := unix.Mkdirat(d.fd, name, 0o755); err != nil {
			return dirFD{}, err
		}
		// No entry has set its times so far.
		epoch := []unix.Timespec{{}, {}}
		if err := unix.UtimesNanoAt(d.fd, name, epoch, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return dirFD{}, err
		}
		fd, err = unix.Openat(d.fd, name, openDir, 0)
	}
	if err == unix.ENOTDIR && d.isSymlink(name) {
		return dirFD{}, errSymlink
	}
	if err != nil {
		return dirFD{}, err
	}
	return newDir(fd)
}

func (d dirFD) mode(name string) uint32 {
	var st unix.Stat_t
	if unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return 0
	}
	return st.Mode & unix.S_IFMT
}

func (d dirFD) isSymlink(name string) bool { return d.mode(name) == unix.S_IFLNK }

// place enters the directory of a new entry and calls do. If a file is in the way,
// place removes it and calls do again.
func (t *hostTree) place(name string, do func(base string) error) error {
	if name == "." {
		return errors.New("the root must be a directory")
	}
	if err := t.enter(path.Dir(name), true); err != nil {
		return err
	}
	t.changed = true
	t.pending.forget(name)
	base := path.Base(name)
	err := do(base)
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	if err := t.removeAt(base); err != nil {
		return err
	}
	return do(base)
}

func (t *hostTree) dir(h *tar.Header) error {
	if h.Name == "." {
		if err := t.enter(".", true); err != nil {
			return err
		}
		return t.setDir(".", h, true)
	}
	existed := false
	err := t.place(h.Name, func(base string) error {
		err := unix.Mkdirat(t.fd, base, 0o755)
		if err == unix.EEXIST && t.mode(base) == unix.S_IFDIR {
			existed = true
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	return t.setDir(path.Base(h.Name), h, existed)
}

// setDir sets the attributes of a directory in the open one.
func (t *hostTree) setDir(base string, h *tar.Header, existed bool) error {
	fd, err := unix.Openat(t.fd, base, openDir, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if existed { // it must have only this entry's attributes
		if err := dropAttrs(fd); err != nil {
			return err
		}
	}
	if base == "." {
		t.times = times(h)
	}
	return t.setAttrs(fd, base, h)
}

func (t *hostTree) file(h *tar.Header, content io.Reader) error {
	fd := closed
	err := t.place(h.Name, func(base string) (err error) {
		fd, err = unix.Openat(t.fd, base, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		return err
	})
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), h.Name)
	err = t.writeSparse(f, content)
	if err == nil {
		err = t.setAttrs(fd, path.Base(h.Name), h)
	}
	return errors.Join(err, f.Close())
}

func (t *hostTree) symlink(h *tar.Header) error {
	t.known.forget() // other names may lead through it
	err := t.place(h.Name, func(base string) error { return unix.Symlinkat(h.Linkname, t.fd, base) })
	if err != nil {
		return err
	}
	return t.setAttrsAt(h)
}

func (t *hostTree) link(h *tar.Header) error {
	from, err := t.walk(path.Dir(h.Linkname), false)
	if err == nil {
		err = t.place(h.Name, func(base string) error {
			return unix.Linkat(from.fd, path.Base(h.Linkname), t.fd, base, 0)
		})
		if errors.Is(err, unix.EMLINK) { // ext4 allows 65,000 names for a file, XFS many more
			err = t.copyOf(from.fd, path.Base(h.Linkname), h)
		}
		unix.Close(from.fd) // its times did not change
	}
	if err != nil {
		return fmt.Errorf("a hard link to %.200q: %w", h.Linkname, err)
	}
	t.pending.link(h.Name, h.Linkname)
	return nil
}

func (t *hostTree) node(h *tar.Header, mode uint32, dev uint64) (bool, error) {
	place := func(mode uint32, dev int) error {
		return t.place(h.Name, func(base string) error { return unix.Mknodat(t.fd, base, mode|0o600, dev) })
	}
	err := error(unix.EPERM)
	if validDevice(h) {
		err = place(mode, int(dev))
	}
	if errors.Is(err, unix.EPERM) && mode != unix.S_IFIFO { // only root may create a device
		err = place(unix.S_IFIFO, 0)
		if err == nil && !t.pending.add(h, uint16(mode)) {
			return false, t.removeAt(path.Base(h.Name))
		}
	}
	if err != nil {
		return false, err
	}
	return true, t.setAttrsAt(h)
}

func (t *hostTree) exists(name string) bool {
	_, err := os.Lstat(path.Join(t.path, name))
	return err == nil
}

func device(major, minor int64) uint64 { return unix.Mkdev(uint32(major), uint32(minor)) }
