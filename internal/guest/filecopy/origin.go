package filecopy

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"syscall"
)

// origin is where a walk finds its files.
type origin interface {
	// resolve returns the path of the file to which a symbolic link given as file leads.
	resolve(file string) (string, error)
	walk(file string, fn fs.WalkDirFunc) error
	readlink(file string) (string, error)
	xattrs(file string) (map[string]string, error)
	open(file string) (*os.File, error)
}

// openSource opens a file for reading. It may have been replaced by a pipe in the
// meantime: opening one must not block.
func openSource(o origin, file string) (*os.File, *syscall.Stat_t, error) {
	f, err := o.open(file)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a file any more")
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info.Sys().(*syscall.Stat_t), nil
}

// openFlags open a file that may be a pipe or a link by now.
const openFlags = os.O_RDONLY | syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// everywhere is all that this process can reach.
type everywhere struct{}

func (everywhere) resolve(file string) (string, error)           { return filepath.EvalSymlinks(file) }
func (everywhere) walk(file string, fn fs.WalkDirFunc) error     { return filepath.WalkDir(file, fn) }
func (everywhere) readlink(file string) (string, error)          { return os.Readlink(file) }
func (everywhere) xattrs(file string) (map[string]string, error) { return xattrs(file) }
func (everywhere) open(file string) (*os.File, error)            { return os.OpenFile(file, openFlags, 0) }

// below is what is in a directory. No symbolic link leads out of it, whatever is renamed
// meanwhile: os.Root sees to that. Extended attributes are left out.
type below struct{ root *os.Root }

func (b below) resolve(file string) (string, error)      { return path.Clean(file), nil }
func (b below) readlink(file string) (string, error)     { return b.root.Readlink(file) }
func (b below) xattrs(string) (map[string]string, error) { return nil, nil }
func (b below) open(file string) (*os.File, error)       { return b.root.OpenFile(file, openFlags, 0) }
func (b below) walk(file string, fn fs.WalkDirFunc) error {
	err := b.visit(file, fn)
	if errors.Is(err, fs.SkipDir) || errors.Is(err, fs.SkipAll) {
		return nil
	}
	return err
}

// visit is filepath.WalkDir for names of any bytes; those of Root.FS have to be UTF-8.
func (b below) visit(file string, fn fs.WalkDirFunc) error {
	info, err := b.root.Lstat(file)
	if err != nil {
		return fn(file, nil, err)
	}
	d := fs.FileInfoToDirEntry(info)
	if err := fn(file, d, nil); err != nil || !d.IsDir() {
		return skipped(err, d)
	}
	names, err := b.names(file)
	if err != nil {
		return skipped(fn(file, d, err), d)
	}
	for _, name := range names {
		if err := b.visit(path.Join(file, name), fn); err != nil {
			return skipped(err, d)
		}
	}
	return nil
}

// skipped ends the walk of one directory on its request.
func skipped(err error, d fs.DirEntry) error {
	if errors.Is(err, fs.SkipDir) && d.IsDir() {
		return nil
	}
	return err
}

func (b below) names(dir string) ([]string, error) {
	f, err := b.root.OpenFile(dir, openFlags|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}
