package update

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/fsx"
)

// lockFor makes us the only one at work on updates of this installation. wait is
// for who takes over from another process of the same update, which is about to let
// go. The lock goes with its process.
func (m Machine) lockFor(ctx context.Context, wait bool) (unlock func(), err error) {
	if err := os.MkdirAll(m.State, 0o700); err != nil {
		return nil, fsx.DiskError("make the updates' directory", err)
	}
	f, err := os.OpenFile(m.lock(), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fsx.DiskError("open the updates' lock", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) && wait {
		err = fsx.Flock(ctx, f)
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		holder := make([]byte, 100)
		n, _ := f.ReadAt(holder, 0)
		f.Close()
		return nil, api.Errorf(api.KindConflict, "cannot update: an update is at work already (%s)", strings.TrimSpace(string(holder[:n]))).
			WithHint("wait until it has ended: tail -f %s", m.Log())
	}
	if err == nil {
		err = errors.Join(f.Truncate(0), writeAt(f, fmt.Sprintf("pid %d\n", os.Getpid())))
	}
	if err != nil {
		f.Close()
		return nil, fsx.DiskError("take the updates' lock", err)
	}
	return func() { f.Close() }, nil
}

// Busy returns the refusal to give while an updater is at work, or nil.
func (m Machine) Busy() (refusal, err error) {
	unlock, err := m.lockFor(context.Background(), false)
	if api.KindOf(err) == api.KindConflict {
		return err, nil
	}
	if err == nil {
		unlock()
	}
	return nil, err
}

func writeAt(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}
