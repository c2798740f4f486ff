package repo

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/host/fsx"
)

// The directory holds every root after the trusted one as N.root.json, and the last
// timestamp.json, snapshot.json and targets.json. All are verified again whenever they
// are read, so whoever can write here can make this host forget what it has seen, and
// nothing more. A damaged file is ignored with a warning and fetched again: a refusal
// would keep a host from updates for good after a bad disk block.

// makeDir makes the directory, or refuses one that others can write to.
func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fsx.DiskError("make the update's directory", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return fsx.DiskError("check the update's directory", err)
	}
	st := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || st.Uid != uint32(os.Geteuid()) || info.Mode().Perm()&0o022 != 0 {
		return api.Errorf(api.KindDenied, "cannot use %s: it is not a directory that only you can write to", dir).
			WithHint("check it with `ls -ld %s`, then remove it", dir)
	}
	return nil
}

// lockDir excludes a second Refresh. The lock ends with its process (flock(2)).
func lockDir(dir string) (func(), error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, fsx.DiskError("open the update's directory", err)
	}
	err = unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		d.Close()
		return nil, api.Errorf(api.KindConflict, "cannot ask the repository: another update is asking it").WithHint("try again when that one is done")
	}
	if err != nil {
		d.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return func() { d.Close() }, nil
}

// readState reads a file of the directory; nil if there is none.
func (r *Repository) readState(name string, limit int64) ([]byte, error) {
	path := filepath.Join(r.opts.Dir, name)
	// Not blocking, so that a FIFO is an error instead of a wait (fifo(7)).
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("it is longer than %d bytes", limit)
	}
	if err == nil && len(data) == 0 {
		err = errors.New("it is empty")
	}
	return data, err
}

// writeState writes a verified file.
func (r *Repository) writeState(name string, data []byte) error {
	path := filepath.Join(r.opts.Dir, name)
	err := fsx.RemoveTemporary(path)
	if err == nil {
		err = fsx.WriteFile(path, data, 0o600)
	}
	return fsx.DiskError("store the repository's "+name, err)
}
