package apply

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/faultpoint"
)

// change makes name what after says, with the content of the file content, if it still is what it
// was when it was seen. temporary is a name in its directory for the time between.
func (t *tree) change(name, temporary string, seen stat, after state, content string) error {
	err := t.tryChange(name, temporary, seen, after, content)
	switch {
	case errors.Is(err, errChanged), errors.Is(err, errLink):
		return api.Errorf(api.KindConflict, "cannot write %.100q: %w", name, err).WithHint("try again")
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return api.Errorf(api.KindNoSpace, "cannot write %.100q: %w", name, err)
	case err != nil:
		return api.Errorf(api.KindInternal, "cannot write %.100q: %w", name, err)
	}
	return nil
}

func (t *tree) tryChange(name, temporary string, seen stat, after state, content string) error {
	if after.Kind == kindAbsent {
		return t.remove(name, temporary, seen)
	}
	if err := t.makeParents(name); err != nil {
		return err
	}
	dir, err := t.parent(name)
	if err != nil {
		return err
	}
	defer dir.Close()
	if seen.kind() == kindAbsent {
		t.removeEmpty(name)
	}
	err = write(dir, temporary, after, content)
	faultpoint.Reach("apply", "made", name)
	if err == nil {
		err = t.place(dir, path.Base(name), temporary, seen)
	}
	if err != nil && !errors.Is(err, errMoved) {
		err = errors.Join(err, unlink(dir, temporary))
	}
	return err
}

// write makes a new file or link.
func write(dir *os.File, base string, after state, content string) error {
	if after.Kind == kindLink {
		return unix.Symlinkat(string(after.Link), int(dir.Fd()), base)
	}
	from, err := os.Open(content)
	if err != nil {
		return err
	}
	defer from.Close()
	fd, err := unix.Openat(int(dir.Fd()), base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	to := os.NewFile(uintptr(fd), base)
	_, err = io.Copy(to, from)
	if err == nil {
		err = unix.Fchmod(fd, after.Mode)
	}
	if err == nil {
		err = to.Sync()
	}
	return errors.Join(err, to.Close())
}

// place gives a new file its name. What has the name takes that of the new one, so that it can
// still be looked at; it is removed only if it is what was seen.
func (t *tree) place(dir *os.File, base, temporary string, seen stat) error {
	fd := int(dir.Fd())
	if seen.kind() == kindAbsent {
		err := unix.Renameat2(fd, temporary, fd, base, unix.RENAME_NOREPLACE)
		if errors.Is(err, unix.EINVAL) { // not supported by the file system (renameat2(2))
			if err = unix.Linkat(fd, temporary, fd, base, 0); err == nil {
				err = unlink(dir, temporary)
			}
		}
		if errors.Is(err, unix.EEXIST) {
			return errChanged
		}
		return err
	}
	if now, err := lstatAt(dir, base); err != nil || now != seen {
		return errChanged
	}
	err := unix.Renameat2(fd, temporary, fd, base, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.EINVAL) {
		return unix.Renameat(fd, temporary, fd, base)
	}
	if err != nil {
		return err
	}
	faultpoint.Reach("apply", "exchanged", base)
	if old, err := lstatAt(dir, temporary); err != nil || old.moved() != seen.moved() {
		if err := unix.Renameat2(fd, temporary, fd, base, unix.RENAME_EXCHANGE); err != nil {
			return fmt.Errorf("%w: it is %s: %w", errMoved, temporary, err)
		}
		return errChanged
	}
	return unlink(dir, temporary)
}

// remove removes name, and the directories above it that are empty then, as git does.
func (t *tree) remove(name, temporary string, seen stat) error {
	dir, err := t.parent(name)
	if err != nil {
		return err
	}
	defer dir.Close()
	base, fd := path.Base(name), int(dir.Fd())
	if now, err := lstatAt(dir, base); err != nil || now != seen {
		return errChanged
	}
	if err := unix.Renameat2(fd, base, fd, temporary, unix.RENAME_NOREPLACE); err != nil {
		if errors.Is(err, unix.EINVAL) {
			return unlink(dir, base)
		}
		return err
	}
	faultpoint.Reach("apply", "moved", name)
	if old, err := lstatAt(dir, temporary); err != nil || old.moved() != seen.moved() {
		if err := unix.Renameat2(fd, temporary, fd, base, unix.RENAME_NOREPLACE); err != nil {
			return fmt.Errorf("%w: it is %s: %w", errMoved, temporary, err)
		}
		return errChanged
	}
	if err := unlink(dir, temporary); err != nil {
		return err
	}
	t.removeAbove(name)
	return nil
}

// removeAbove removes the directories above name that are empty.
func (t *tree) removeAbove(name string) {
	for above := path.Dir(name); above != "."; above = path.Dir(above) {
		parent, err := t.parent(above)
		if err != nil {
			return
		}
		err = unix.Unlinkat(int(parent.Fd()), path.Base(above), unix.AT_REMOVEDIR)
		parent.Close()
		if err != nil {
			return // it is not empty
		}
	}
}

// removeEmpty removes a directory in which there are nothing but directories, and these.
func (t *tree) removeEmpty(dir string) {
	f, err := t.open(dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return // it is no directory
	}
	entries, err := f.ReadDir(-1)
	f.Close()
	for _, e := range entries {
		if err == nil && e.IsDir() {
			t.removeEmpty(path.Join(dir, e.Name()))
		}
	}
	parent, err := t.parent(dir)
	if err != nil {
		return
	}
	defer parent.Close()
	_ = unix.Unlinkat(int(parent.Fd()), path.Base(dir), unix.AT_REMOVEDIR) // unless it is not empty
}
