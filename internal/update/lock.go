package update

import (
	"context"
	"errors"
	"os"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/installlock"
)

// lockFor takes the lock on this installation (package lock). wait is for a process
// that takes over from another one of the same update.
func (m Machine) lockFor(ctx context.Context, wait bool) (unlock func(), err error) {
	if err := os.MkdirAll(m.State, 0o700); err != nil {
		return nil, fsx.DiskError("make the updates' directory", err)
	}
	unlock, err = installlock.Take(ctx, m.lock(), installlock.Update, wait)
	var held *installlock.HeldError
	switch {
	case !errors.As(err, &held):
		return unlock, fsx.DiskError("take the updates' lock", err)
	case held.What != installlock.Update:
		return nil, api.Errorf(api.KindConflict, "cannot update: %w", held).WithHint("wait until it has ended")
	}
	return nil, api.Errorf(api.KindConflict, "cannot update: %w", held).WithHint("wait until it has ended: tail -f %s", m.Log())
}

// Busy returns the refusal to give while an updater runs, or nil.
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
