package rootfs

import (
	"errors"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

func (t *hostTree) remove(name string, kept func(string) bool) error {
	if kept(name) {
		return t.empty(name, kept)
	}
	if err := t.enter(path.Dir(name), false); err != nil {
		return absent(err)
	}
	return t.removeAt(path.Base(name))
}

func (t *hostTree) empty(name string, kept func(string) bool) error {
	if name != "." {
		if err := t.enter(path.Dir(name), false); err != nil {
			return absent(err)
		}
		if t.mode(path.Base(name)) != unix.S_IFDIR {
			return nil
		}
	}
	if err := t.enter(name, false); err != nil {
		return err
	}
	t.known.forget()
	return t.purge(name, kept)
}

// absent turns the error for a directory that does not exist, or is not a directory,
// into success.
func absent(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	return err
}

// removeAt removes the file base in the open directory.
func (t *hostTree) removeAt(base string) error {
	t.changed = true
	t.known.forget()
	return t.dirFD.removeAll(base)
}

// purge removes everything from the directory d, called name, that kept does not
// contain.
func (d *dirFD) purge(name string, kept func(string) bool) error {
	d.changed = true
	children, err := d.names()
	if err != nil {
		return err
	}
	for _, base := range children {
		child := path.Join(name, base)
		if !kept(child) {
			err = d.removeAll(base)
		} else if d.mode(base) == unix.S_IFDIR {
			err = d.within(base, func(sub *dirFD) error { return sub.purge(child, kept) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// removeAll removes base in d, and everything below it.
func (d *dirFD) removeAll(base string) error {
	err := unix.Unlinkat(d.fd, base, 0)
	if err == nil || err == unix.ENOENT {
		return nil
	}
	if d.mode(base) != unix.S_IFDIR {
		return os.NewSyscallError("unlinkat", err)
	}
	if unix.Unlinkat(d.fd, base, unix.AT_REMOVEDIR) == nil {
		return nil
	}
	none := func(string) bool { return false }
	if err := d.within(base, func(sub *dirFD) error { return sub.purge(".", none) }); err != nil {
		return err
	}
	return os.NewSyscallError("unlinkat", unix.Unlinkat(d.fd, base, unix.AT_REMOVEDIR))
}

// within opens a directory in d for a call, and closes it afterwards.
func (d *dirFD) within(base string, do func(*dirFD) error) error {
	sub, err := d.step(base, false)
	if err != nil {
		return err
	}
	return errors.Join(do(&sub), sub.leave())
}

// names lists the directory.
func (d *dirFD) names() ([]string, error) {
	fd, err := unix.Openat(d.fd, ".", openDir, 0)
	if err != nil {
		return nil, os.NewSyscallError("open", err)
	}
	f := os.NewFile(uintptr(fd), "directory")
	names, err := f.Readdirnames(-1)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return names, errors.Join(err, f.Close())
}
