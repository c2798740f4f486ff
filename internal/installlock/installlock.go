// Package installlock lets one process at a time change the programs of an installation: an
// update, an installation, its removal. scripts/install.sh takes the same lock.
package installlock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"banger/internal/host/fsx"
)

// HeldError names the holder of the lock, as far as it is known.
type HeldError struct{ What, Who string }

func (e *HeldError) Error() string { return fmt.Sprintf("%s is already running (%s)", e.What, e.Who) }

// The kinds of work.
const (
	Update       = "an update"
	Installation = "an installation"
)

// Take takes the lock at path for some work, or returns a HeldError. If wait is set, it
// waits for another process of the same work, which is about to release the lock. The
// lock ends with its process.
func Take(ctx context.Context, path, what string, wait bool) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) && wait {
		if err = fsx.Flock(ctx, f); err != nil {
			return nil, err // fsx.Flock has closed f
		}
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = holder(f)
	}
	if err == nil {
		err = errors.Join(f.Truncate(0), writeAt(f, fmt.Sprintf("pid %d\n%s\n", os.Getpid(), what)))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// holder reads who took the lock.
func holder(f *os.File) error {
	text := make([]byte, 100)
	n, _ := f.ReadAt(text, 0)
	who, what, _ := strings.Cut(strings.TrimSpace(string(text[:n])), "\n")
	if what != Installation {
		what = Update // older versions write only their pid
	}
	return &HeldError{what, who}
}

func writeAt(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}
