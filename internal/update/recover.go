package update

import (
	"context"
	"errors"
	"os"

	"banger/internal/faultpoint"
	"banger/internal/update/journal"
)

// Recover ends an update that a power loss interrupted. It works on files alone: no
// daemon runs yet, and no guest survived. An update that was not proven is rolled back,
// one that was is finished. An update of this boot is left to its updater. It reports
// whether there was anything to do.
func (m Machine) Recover(ctx context.Context) (bool, error) {
	unlock, err := m.lockFor(ctx, false)
	if err != nil {
		return false, err
	}
	defer unlock()
	j, err := journal.Read(m.Journal())
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if boot, err := m.BootID(); err != nil || m.System && boot == j.BootID {
		return false, err
	}
	_, err = m.recover(ctx, j)
	return true, err
}

func (m Machine) recover(ctx context.Context, j journal.Journal) (journal.Journal, error) {
	r := newRun(m, j, true)
	err := r.recoverOffline(ctx)
	return r.j, err
}

// recoverLate recovers an update that was not recovered at boot: the daemons run, and
// are stopped first.
func (m Machine) recoverLate(ctx context.Context, j journal.Journal) (journal.Journal, error) {
	if err := m.StopAll(ctx); err != nil {
		return j, err
	}
	j, err := m.recover(ctx, j)
	return j, errors.Join(err, m.StartHelper(ctx), m.Start(ctx, m.Dir(m.Current())))
}

func (r *run) recoverOffline(ctx context.Context) error {
	if r.j.State.MayMove(journal.RollingBack) {
		r.fail(errors.New("it was interrupted before the new version had proven itself"))
	}
	if err := r.undo.keepNewIfNewVMs(ctx, false); err != nil {
		return err
	}
	switch r.j.State {
	case journal.Committing:
		faultpoint.Reach("update", "recover", "before")
		if err := r.commit(); err != nil {
			return err
		}
		if err := r.move(journal.Done); err != nil {
			return err
		}
	case journal.RollingBack:
		faultpoint.Reach("update", "recover", "before")
		if err := r.undo.rollBackOffline(ctx); err != nil {
			return err
		}
		if err := r.move(journal.RolledBack); err != nil {
			return err
		}
	}
	faultpoint.Reach("update", "recover", "after")
	return r.conclude()
}
