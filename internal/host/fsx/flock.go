package fsx

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Flock takes an exclusive lock on f, or gives up when ctx ends. flock(2) itself cannot
// be cancelled: in that case f is closed as soon as the lock is taken, and must not be
// used any more.
func Flock(ctx context.Context, f *os.File) error {
	locked := make(chan error, 1)
	go func() {
		for {
			err := unix.Flock(int(f.Fd()), unix.LOCK_EX)
			if !errors.Is(err, unix.EINTR) {
				locked <- err
				return
			}
		}
	}()
	select {
	case err := <-locked:
		return err
	case <-ctx.Done():
		go func() {
			_ = <-locked
			f.Close()
		}()
		return context.Cause(ctx)
	}
}
