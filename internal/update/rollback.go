package update

import (
	"context"
	"time"

	"banger/internal/update/journal"
)

// reloadTimeout bounds a reload of systemd during a rollback.
const reloadTimeout = 40 * time.Second

// undo takes an update back.
type undo struct {
	*progress
	proof   proof
	resumed bool // no updater ran for a while, so new work was not held back
	// keepStore: the store is not restored, see keepNewIfNewVMs.
	keepStore bool
}

// rollBack restores everything as it was. A daemon that does not start is reported as a
// problem; if a file cannot be restored, the next updater tries again.
func (u *undo) rollBack(ctx context.Context) error {
	ctx, cancel := uninterrupted(ctx)
	defer cancel()
	if !u.j.Reached.Reached(journal.Units) {
		return nil
	}
	u.Report("rolling back to version " + u.j.From.Version)
	restart := u.j.Reached.Reached(journal.Stopping)
	if restart {
		if err := u.takeHold(); err != nil {
			u.Report(err.Error()) // the rollback matters more
		}
		// Before the unit files are restored: systemd stops a unit with the settings
		// that it has read, and the new ones spare guests where older ones may not.
		if err := u.StopAll(ctx); err != nil {
			u.addProblem("stopping: " + err.Error())
		}
	}
	if err := u.restoreFiles(ctx); err != nil {
		return err
	}
	if err := u.restoreStore(ctx); err != nil {
		return err
	}
	if restart {
		u.startOldVersion(ctx)
	}
	return nil
}

func (u *undo) rollBackOffline(ctx context.Context) error {
	if !u.j.Reached.Reached(journal.Units) {
		return nil
	}
	if err := u.restoreFiles(ctx); err != nil {
		return err
	}
	return u.restoreStore(ctx)
}

// uninterrupted returns a context for work that must not be done by half, even if the
// caller is cancelled.
func uninterrupted(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
}

// restoreFiles restores the link and the unit files.
func (u *undo) restoreFiles(ctx context.Context) error {
	if err := u.link(u.j.From.Version); err != nil {
		return err
	}
	if len(u.j.Files) == 0 {
		return nil
	}
	added, removed := changedUnits(u.j.Files)
	if len(added) > 0 { // the files say what enabled them, so before they are removed
		u.reload(ctx, nil, added)
	}
	if err := applyFiles(reversed(u.j.Files)); err != nil {
		return err
	}
	u.reload(ctx, removed, nil)
	return nil
}

func (u *undo) reload(ctx context.Context, enable, disable []string) {
	// At boot systemd is busy, and the files on disk matter more.
	ctx, cancel := context.WithTimeout(ctx, reloadTimeout)
	defer cancel()
	if err := u.Reload(ctx, enable, disable); err != nil {
		u.addProblem("systemd did not read the unit files: " + err.Error())
	}
}

// restoreStore restores the store if the new version may have written to it.
func (u *undo) restoreStore(ctx context.Context) error {
	if u.keepStore || !u.mayHaveWritten() {
		return nil
	}
	u.Report("restoring the store")
	return u.recordOrFail(ctx, u.Restore(ctx, u.Dir(u.j.From.Version), u.j.Backup()))
}

func (u *undo) startOldVersion(ctx context.Context) {
	err := u.StartHelper(ctx)
	if err == nil {
		err = u.Start(ctx, u.Dir(u.j.From.Version))
	}
	if err != nil {
		u.addProblem("version " + u.j.From.Version + " does not start: " + err.Error())
		return
	}
	if !u.j.DownAt.IsZero() && u.j.Downtime == 0 {
		u.j.Downtime = u.Now().Sub(u.j.DownAt)
	}
	for _, p := range u.proof.probe(ctx, u.j.From.Version) {
		u.addProblem(p)
	}
}
