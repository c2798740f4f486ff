package cli

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/host/fsx"
)

// newFile is a file that gets its name when it is complete; until then it is a hidden file
// in the same directory. Blocks of zeros become holes.
type newFile struct {
	path    string
	replace bool
	f       *os.File
	size    int64
}

// createFile begins a file. It refuses an existing file unless replace is set, and
// anything but a regular file always.
func createFile(path string, replace bool) (*newFile, error) {
	info, err := os.Lstat(path)
	switch {
	case err == nil && info.IsDir():
		return nil, api.Errorf(api.KindExists, "cannot write %s: it is a directory", path).WithHint("name a file in it")
	case err == nil && !replace:
		return nil, taken(path)
	case err == nil && !info.Mode().IsRegular():
		return nil, api.Errorf(api.KindExists, "cannot write %s: it exists and is not a regular file", path)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, fsx.DiskError("write the file", err)
	}
	hidden := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"."+strconv.FormatUint(rand.Uint64(), 36))
	f, err := os.OpenFile(hidden, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o666)
	if named := new(fs.PathError); errors.As(err, &named) {
		err = named.Err // the hidden name would only confuse
	}
	if err != nil {
		return nil, fsx.DiskError("write "+path, err)
	}
	return &newFile{path: path, replace: replace, f: f}, nil
}

func taken(path string) error {
	return api.Errorf(api.KindExists, "cannot write %s: it already exists", path).WithHint("--force replaces it")
}

// Write adds p to the file.
func (n *newFile) Write(p []byte) (int, error) {
	if err := fsx.WriteSparse(n.f, n.size, p); err != nil {
		return 0, fsx.DiskError("write "+n.path, err)
	}
	n.size += int64(len(p))
	return len(p), nil
}

// finish gives the file its name, or removes it if failed is not nil.
func (n *newFile) finish(failed error) error {
	if failed != nil {
		n.f.Close()
		os.Remove(n.f.Name())
		return failed
	}
	err := errors.Join(n.f.Truncate(n.size), n.f.Sync(), n.f.Close())
	if err == nil {
		err = n.name()
	}
	if err != nil {
		os.Remove(n.f.Name())
		if errors.Is(err, fs.ErrExist) {
			return taken(n.path)
		}
		return fsx.DiskError("write "+n.path, err)
	}
	return fsx.DiskError("write "+n.path, fsx.SyncDir(filepath.Dir(n.path)))
}

func (n *newFile) name() error {
	if n.replace {
		return os.Rename(n.f.Name(), n.path)
	}
	err := unix.Renameat2(unix.AT_FDCWD, n.f.Name(), unix.AT_FDCWD, n.path, unix.RENAME_NOREPLACE)
	if err == unix.EINVAL || err == unix.ENOSYS { // not supported by every file system
		return os.Rename(n.f.Name(), n.path)
	}
	return err
}
