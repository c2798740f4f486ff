// Package hold refuses new work while an update is being proven. The updater makes a
// file and holds its lock; the daemon checks both. The lock ends with the updater,
// however it ends, so a hold without a running updater has no effect.
package hold

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"banger/api"
)

// maxText bounds what is read of the file, in bytes; it names the update.
const maxText = 100

// Hold is a hold in effect.
type Hold struct {
	path string
	file *os.File
}

// Make puts a hold on new work, and replaces an older one. Only the daemon's user, uid,
// can read the file (0: it belongs to the current user): whoever can open it can lock
// it (flock(2)), and would hold back all work after the updater has ended. That user
// could do so as well, so the file is locked before it gets its name.
func Make(path, what string, uid int) (*Hold, error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".hold-*")
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		_, err = f.WriteString(what)
	}
	if uid != 0 {
		err = errors.Join(err, f.Chown(uid, -1))
	}
	if err = errors.Join(err, f.Chmod(0o400)); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(f.Name()), f.Close())
	}
	return &Hold{path, f}, nil
}

// Release ends the hold.
func (h *Hold) Release() error {
	return errors.Join(Remove(h.path), h.file.Close())
}

// Remove removes the file of a hold that no process has in effect.
func Remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Check returns an error while a hold is in effect at path. kind is the kind of the operation
// that is refused. Without a hold it costs one system call. A file that cannot be opened
// has no effect.
func Check(path, kind string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		return nil
	}
	what, _ := io.ReadAll(io.LimitReader(f, maxText))
	return api.Errorf(api.KindConflict, "cannot %s now: the update to %s is being proven", api.ActionOf(kind).Request(), bytes.TrimSpace(what)).
		WithHint("try again in a moment; guests, and commands in them, are not affected")
}
