package apply

import (
	"crypto/rand"
	"errors"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// Kinds of what is at a path.
const (
	kindAbsent = ""
	kindFile   = "file"
	kindLink   = "link"
	kindDir    = "dir"
	kindOther  = "other"
)

// stat is what tells whether a path is still what it was. The zero value is nothing at all.
type stat struct {
	mode               uint32
	ino                uint64
	size, mtime, ctime int64
}

func (s stat) kind() string {
	switch s.mode & unix.S_IFMT {
	case 0:
		return kindAbsent
	case unix.S_IFREG:
		return kindFile
	case unix.S_IFLNK:
		return kindLink
	case unix.S_IFDIR:
		return kindDir
	}
	return kindOther
}

// moved is s without what a rename changes.
func (s stat) moved() stat {
	s.ctime = 0
	return s
}

var (
	errLink = errors.New("a directory of its path is a symbolic link")
	// errChanged is of a path that is not any more what it was when it was looked at.
	errChanged = errors.New("it was changed meanwhile")
	// errMoved is of one whose change is under the temporary name now.
	errMoved = errors.New("it was changed meanwhile, and could not be renamed again")
)

func missing(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) }

// tree is the work tree. No name in it is resolved through a symbolic link (openat2(2)).
type tree struct{ top *os.File }

func openTree(top string) (*tree, error) {
	f, err := os.OpenFile(top, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return &tree{f}, nil
}

func (t *tree) close() { t.top.Close() }

func (t *tree) open(name string, flags uint64) (*os.File, error) {
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS}
	for {
		fd, err := unix.Openat2(int(t.top.Fd()), name, &how)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN): // a directory was renamed (openat2(2))
			continue
		case errors.Is(err, unix.ELOOP):
			return nil, errLink
		case err != nil:
			return nil, err
		}
		return os.NewFile(uintptr(fd), name), nil
	}
}

// parent opens the directory of name.
func (t *tree) parent(name string) (*os.File, error) {
	return t.open(path.Dir(name), unix.O_PATH|unix.O_DIRECTORY)
}

// lstat looks at what is at name. A directory of its path that is missing is an error.
func (t *tree) lstat(name string) (stat, error) {
	dir, err := t.parent(name)
	if err != nil {
		return stat{}, err
	}
	defer dir.Close()
	return lstatAt(dir, path.Base(name))
}

func lstatAt(dir *os.File, base string) (stat, error) {
	var s unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), base, &s, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return stat{}, err
	}
	return stat{s.Mode, s.Ino, s.Size, s.Mtim.Nano(), s.Ctim.Nano()}, nil
}

// makeParents makes the directories of name that are missing, with the user's umask.
func (t *tree) makeParents(name string) error {
	dir := path.Dir(name)
	f, err := t.open(dir, unix.O_PATH|unix.O_DIRECTORY)
	if err == nil {
		f.Close()
		return nil
	}
	if !errors.Is(err, unix.ENOENT) {
		return err
	}
	if err := t.makeParents(dir); err != nil {
		return err
	}
	above, err := t.parent(dir)
	if err != nil {
		return err
	}
	defer above.Close()
	if err := unix.Mkdirat(int(above.Fd()), path.Base(dir), 0o777); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}

func unlink(dir *os.File, base string) error {
	err := unix.Unlinkat(int(dir.Fd()), base, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// random is a part of a name that nobody else uses.
func random() string { return rand.Text()[:10] }

// rename renames name in its directory to to, which does not exist.
func (t *tree) rename(name, to string) error {
	dir, err := t.parent(name)
	if err != nil {
		return err
	}
	defer dir.Close()
	err = unix.Renameat2(int(dir.Fd()), path.Base(name), int(dir.Fd()), path.Base(to), unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) {
		err = unix.Renameat(int(dir.Fd()), path.Base(name), int(dir.Fd()), path.Base(to))
	}
	return err
}

// only reports whether a directory has no files but those of names, at any depth.
func (t *tree) only(dir string, names map[string]bool) bool {
	f, err := t.open(dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return false
	}
	entries, err := f.ReadDir(-1)
	f.Close()
	if err != nil {
		return false
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if e.IsDir() && !t.only(name, names) || !e.IsDir() && !names[name] {
			return false
		}
	}
	return true
}

// fileAbove returns the file in the work tree that is where a directory of name is to be.
func (t *tree) fileAbove(name string) string {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if s, err := t.lstat(dir); err == nil && s.kind() != kindDir {
			return dir
		}
	}
	return ""
}
