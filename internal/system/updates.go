package system

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/installlock"
	"banger/internal/paths"
)

// updates are what an installation must not meet.
type updates struct{ tree }

// exclude keeps updates and other installations out until release is called. If
// the lock's directory does not exist, there is nothing to update.
func (u updates) exclude(ctx context.Context, verb string) (release func(), err error) {
	dir := u.path(paths.System().Update())
	if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
		return func() {}, nil
	}
	release, err = installlock.Take(ctx, filepath.Join(dir, "lock"), installlock.Installation, false)
	var held *installlock.HeldError
	if errors.As(err, &held) {
		return nil, api.Errorf(api.KindConflict, "cannot %s: %w", verb, held).WithHint("wait until it has ended")
	}
	return release, fsx.DiskError(verb, err)
}

// refuse refuses to interfere with an update that has not ended.
func (u updates) refuse(verb string) error {
	if _, err := os.Lstat(u.path(paths.System().Update() + "/journal.json")); err != nil {
		return nil
	}
	return api.Errorf(api.KindConflict, "cannot %s: an update has not ended", verb).
		WithHint("sudo banger update   shows its state, and finishes an interrupted one")
}

// end keeps updates out until release is called. A running update is refused, or
// stopped if that is requested, and its state is removed with the rest.
func (u updates) end(ctx context.Context, m Manager, force bool) (release func(), err error) {
	stop := func() error { return errors.Join(m.Stop(ctx, UpdateUnit), m.Stop(ctx, RecoverUnit)) }
	if force {
		if err := stop(); err != nil { // it holds the lock
			return nil, err
		}
		return u.exclude(ctx, "uninstall")
	}
	if release, err = u.exclude(ctx, "uninstall"); err != nil {
		return nil, err
	}
	if err = u.refuse("uninstall"); err == nil {
		err = stop()
	}
	if err != nil {
		release()
		return nil, err
	}
	return release, nil
}
