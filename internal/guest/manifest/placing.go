package manifest

import (
	"cmp"
	"errors"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"banger/internal/faultpoint"
)

// make makes a change. Its second error is one of reading the request.
func (p *placer) make(c Change) (result, error) {
	s := &placing{placer: p, Change: c, base: path.Base(c.Path)}
	err := s.begin()
	var broken error
	if c.Type == File {
		var failed error
		if failed, broken = p.contentOf(c, s.writer(err)); err == nil {
			err = failed
		}
	}
	if err == nil && broken == nil {
		err = s.end()
	}
	if err != nil || broken != nil {
		s.undo()
	}
	return result{err: err, entry: s.entry, file: s.file, dir: s.dir, disk: cmp.Or(s.now.Dev, s.old.Dev)}, broken
}

// placing is one change, while it is made.
type placing struct {
	*placer
	Change
	base string
	dir  *os.File      // of the path
	made []string      // directories above it that were made
	old  unix.Stat_t   // of what is replaced
	file *os.File      // what is placed
	now  unix.Stat_t   // of it
	temp temporaryName // that it has, or what it replaced; empty: neither
	// entry is what was placed, as it is now.
	entry Entry
}

// writer returns what writes the content, unless the change failed already.
func (s *placing) writer(failed error) func([]byte) error {
	return func(b []byte) error {
		if failed == nil {
			_, failed = s.file.Write(b)
		}
		return failed
	}
}

// begin makes a temporary file or link in the directory of the path.
func (s *placing) begin() error {
	if err := s.openDir(); err != nil {
		return err
	}
	if dir := path.Dir(s.Path); !s.cleaned[dir] {
		cleanUp(s.dir)
		s.cleaned[dir] = true
	}
	if !s.isExpected(s.base, &s.old) {
		return errOther
	}
	fd, temp := int(s.dir.Fd()), newTemporary()
	var err error
	switch s.Type {
	case File:
		fd, err = unix.Openat(fd, temp.name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	case Link:
		if err = unix.Symlinkat(s.Link, fd, temp.name); err == nil {
			s.temp = temp
			fd, err = unix.Openat(fd, temp.name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		}
	default:
		return nil
	}
	if err != nil {
		return err
	}
	s.file, s.temp = os.NewFile(uintptr(fd), temp.name), temp
	return nil
}

// openDir opens the directory of the path. One that is missing is made, if nothing was expected.
func (s *placing) openDir() error {
	dir := path.Dir(s.Path)
	fd, err := s.root.open(dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if errors.Is(err, unix.ENOENT) && s.Type != "" && s.Expect.Type == "" {
		if err = s.mkdir(dir); err == nil {
			fd, err = s.root.open(dir, unix.O_RDONLY|unix.O_DIRECTORY)
		}
	}
	switch {
	case isGone(err):
		return errOther // something else is where a directory was
	case err != nil:
		return err
	}
	s.dir = os.NewFile(uintptr(fd), dir)
	return nil
}

// mkdir makes a directory and those above it. They belong to the owner and the group of the
// directory that they are in.
func (s *placing) mkdir(dir string) error {
	above, err := s.root.open(path.Dir(dir), unix.O_PATH|unix.O_DIRECTORY)
	if errors.Is(err, unix.ENOENT) && dir != "." {
		if err = s.mkdir(path.Dir(dir)); err == nil {
			above, err = s.root.open(path.Dir(dir), unix.O_PATH|unix.O_DIRECTORY)
		}
	}
	if err != nil {
		return err
	}
	defer unix.Close(above)
	base := path.Base(dir)
	err = unix.Mkdirat(above, base, 0o755)
	switch {
	case errors.Is(err, unix.EEXIST):
		return nil // somebody else made it; what is not a directory is found next
	case err != nil:
		return err
	}
	s.made = append(s.made, dir)
	var st unix.Stat_t
	if err := unix.Fstat(above, &st); err != nil {
		return err
	}
	return allowed(unix.Fchownat(above, base, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW))
}

// allowed is err, unless it says that this process may not change owners: a fake guest is not root.
func allowed(err error) error {
	if errors.Is(err, unix.EPERM) && unix.Geteuid() != 0 {
		return nil
	}
	return err
}

// isExpected reports whether what has a name in the directory is what was expected.
func (s *placing) isExpected(name string, st *unix.Stat_t) bool {
	fd := int(s.dir.Fd())
	err := unix.Fstatat(fd, name, st, unix.AT_SYMLINK_NOFOLLOW)
	if s.Expect.Type == "" {
		return errors.Is(err, unix.ENOENT)
	}
	if err != nil {
		return false
	}
	now, want := entryOf("", st), s.Expect
	if now.Type == Link {
		if now.Link, err = readlink(fd, name); err != nil {
			return false
		}
	}
	if now.Type == Dir {
		return want.Type == Dir && want.Inode == now.Inode
	}
	want.Path, want.Skipped, want.Unread = "", false, ""
	return now == want
}

// end gives what was made its name, or removes what has it.
func (s *placing) end() error {
	if s.Type == "" {
		return s.remove()
	}
	if err := s.finish(); err != nil {
		return err
	}
	faultpoint.Reach("place", "made", s.base)
	if err := s.exchange(); err != nil {
		return err
	}
	// Somebody may have written to it by now. It then keeps the attributes from before, which are
	// not those in the next list.
	var st unix.Stat_t
	if err := unix.Fstat(int(s.file.Fd()), &st); err == nil && identityOf(&st) == identityOf(&s.now) && st.Mode == s.now.Mode {
		s.now = st
	}
	s.entry = entryOf(s.Path, &s.now)
	s.entry.Link = s.Link
	return nil
}

// finish sets the attributes of what was made.
func (s *placing) finish() error {
	owner := s.old
	if s.Expect.Type == "" {
		if err := unix.Fstat(int(s.dir.Fd()), &owner); err != nil {
			return err
		}
	}
	fd := int(s.file.Fd())
	if err := allowed(unix.Fchownat(fd, "", int(owner.Uid), int(owner.Gid), unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW)); err != nil {
		return err
	}
	if s.Type == File {
		if err := unix.Fchmod(fd, s.Mode); err != nil {
			return err
		}
		// ext4 then writes the content before the new name (data=ordered, ext4(5)), so that
		// a crash before the answer leaves the old content or the new.
		_ = unix.SyncFileRange(fd, 0, 0, unix.SYNC_FILE_RANGE_WRITE)
	}
	return unix.Fstat(fd, &s.now)
}

// exchange gives what was made its name.
func (s *placing) exchange() error {
	fd := int(s.dir.Fd())
	switch s.Expect.Type {
	case Dir:
		if err := s.removeDir(); err != nil {
			return err
		}
		fallthrough
	case "":
		err := renameNew(fd, s.temp.name, s.base)
		if errors.Is(err, unix.EEXIST) {
			return errOther
		}
		if err == nil {
			s.temp = temporaryName{}
		}
		return err
	}
	if err := s.mark(); err != nil {
		return err
	}
	if !s.isExpected(s.base, &s.old) {
		return errOther
	}
	err := unix.Renameat2(fd, s.temp.name, fd, s.base, unix.RENAME_EXCHANGE)
	switch {
	case errors.Is(err, unix.EINVAL): // not supported by the file system (renameat2(2))
		if err = unix.Renameat(fd, s.temp.name, fd, s.base); err == nil {
			s.temp = temporaryName{}
		}
		return err
	case errors.Is(err, unix.ENOENT):
		return errOther
	case err != nil:
		return err
	}
	faultpoint.Reach("place", "exchanged", s.base)
	if s.temp.holdsOld(fd) {
		return s.unlink()
	}
	return s.giveBack()
}

// mark gives the temporary file a name that says what it is, and what it is about to replace: if
// the agent is killed after the exchange, the next knows whether it may be removed.
func (s *placing) mark() error {
	fd, marked := int(s.dir.Fd()), s.temp.mark(identityOf(&s.now), identityOf(&s.old))
	if err := unix.Renameat(fd, s.temp.name, fd, marked.name); err != nil {
		return err
	}
	s.temp = marked
	return nil
}

// giveBack exchanges again, since what was replaced was not what was expected.
func (s *placing) giveBack() error {
	fd := int(s.dir.Fd())
	err := unix.Renameat2(fd, s.temp.name, fd, s.base, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.ENOENT) { // what was placed is gone already
		err = renameNew(fd, s.temp.name, s.base)
		if err == nil {
			s.temp = temporaryName{}
		}
	}
	return errOther // undo looks at what has the temporary name now
}

// unlink removes what has the temporary name.
func (s *placing) unlink() error {
	err := unix.Unlinkat(int(s.dir.Fd()), s.temp.name, 0)
	s.temp = temporaryName{}
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// undo removes what was made for a change that failed, at once: the next may need its space.
func (s *placing) undo() {
	s.file.Close()
	if s.temp.name != "" {
		s.temp.discard(int(s.dir.Fd()))
	}
	for i := len(s.made) - 1; i >= 0; i-- {
		if !s.rmdir(s.made[i]) {
			break
		}
	}
}
