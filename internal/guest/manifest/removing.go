package manifest

import (
	"errors"
	"path"

	"golang.org/x/sys/unix"

	"banger/internal/faultpoint"
)

// remove removes what was expected, and the directories above it that are empty then, as git does.
func (s *placing) remove() error {
	remove := s.removeFile
	if s.Expect.Type == Dir {
		remove = s.removeDir
	}
	if err := remove(); err != nil {
		return err
	}
	for dir := path.Dir(s.Path); dir != "."; dir = path.Dir(dir) {
		if !s.rmdir(dir) {
			break
		}
	}
	return nil
}

func (s *placing) removeFile() error {
	fd := int(s.dir.Fd())
	temp := newTemporary().mark(identity{}, identityOf(&s.old))
	err := unix.Renameat(fd, s.base, fd, temp.name)
	switch {
	case errors.Is(err, unix.ENOENT):
		return errOther
	case err != nil:
		return err
	}
	s.temp = temp
	faultpoint.Reach("place", "moved", s.base)
	return s.unlinkOld()
}

// unlinkOld removes what was renamed, or gives its name back if it is not what was expected.
func (s *placing) unlinkOld() error {
	fd := int(s.dir.Fd())
	if s.temp.holdsOld(fd) {
		return s.unlink()
	}
	if err := renameNew(fd, s.temp.name, s.base); err == nil {
		s.temp = temporaryName{}
	}
	return errOther
}

// removeDir removes an empty directory.
func (s *placing) removeDir() error {
	err := unix.Unlinkat(int(s.dir.Fd()), s.base, unix.AT_REMOVEDIR)
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return errOther
	}
	return err
}

// rmdir removes a directory if it is empty.
func (s *placing) rmdir(dir string) bool {
	above, err := s.root.open(path.Dir(dir), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return false
	}
	defer unix.Close(above)
	return unix.Unlinkat(above, path.Base(dir), unix.AT_REMOVEDIR) == nil
}

// renameNew renames to a name that nothing has.
func renameNew(dir int, from, to string) error {
	err := unix.Renameat2(dir, from, dir, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) { // not supported by the file system (renameat2(2))
		if err = unix.Linkat(dir, from, dir, to, 0); err == nil {
			err = unix.Unlinkat(dir, from, 0)
		}
	}
	return err
}
