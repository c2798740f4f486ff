package update

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"banger/api"
	"banger/internal/faultpoint"
	"banger/internal/host/fsx"
	"banger/internal/update/journal"
)

// reloadTimeout bounds a reload of systemd during a rollback.
const reloadTimeout = 40 * time.Second

// writeFiles writes the files of systemd and udev before anything is stopped: systemd
// stops a unit with the settings that it has read.
func (r *run) writeFiles(ctx context.Context) error {
	if len(r.j.Files) == 0 {
		return nil
	}
	if err := r.takeHold(); err != nil {
		return err
	}
	r.Report("writing unit files")
	if err := applyFiles(r.j.Files); err != nil {
		return err
	}
	enable, disable := changedUnits(r.j.Files)
	return r.Reload(ctx, enable, disable)
}

func applyFiles(files []journal.Content) error {
	for _, f := range files {
		if err := applyFile(f.Path, f.After); err != nil {
			return err
		}
	}
	return nil
}

// applyFile writes a file, or removes it if text is nil.
func applyFile(path string, text *string) error {
	if text == nil {
		return fsx.DiskError("remove "+path, remove(path))
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return api.AsError(err)
	}
	return fsx.DiskError("write "+path, fsx.WriteFile(path, []byte(*text), 0o644))
}

// changedUnits names the units that are added and removed. Units that were there stay
// enabled or disabled, as the administrator set them.
func changedUnits(files []journal.Content) (added, removed []string) {
	for _, f := range files {
		name := filepath.Base(f.Path)
		switch {
		case f.Before == nil && f.After != nil && hasInstallSection(*f.After):
			added = append(added, name)
		case f.Before != nil && f.After == nil && hasInstallSection(*f.Before):
			removed = append(removed, name)
		}
	}
	return added, removed
}

func hasInstallSection(text string) bool { return strings.Contains("\n"+text, "\n[Install]\n") }

// reversed returns the changes that undo files.
func reversed(files []journal.Content) []journal.Content {
	var reversed []journal.Content
	for _, f := range files {
		reversed = append(reversed, journal.Content{Path: f.Path, Before: f.After, After: f.Before})
	}
	return reversed
}

// rollBack restores everything as it was. A daemon that does not start is reported as a
// problem; if a file cannot be restored, the next updater tries again.
func (r *run) rollBack(ctx context.Context) error {
	ctx, cancel := uninterrupted(ctx)
	defer cancel()
	if !r.j.Reached.Reached(journal.Units) {
		return nil
	}
	r.Report("rolling back to version " + r.j.From.Version)
	restart := r.j.Reached.Reached(journal.Stopping)
	if restart {
		if err := r.takeHold(); err != nil {
			r.Report(err.Error()) // the rollback matters more
		}
		// Before the unit files are restored: systemd stops a unit with the settings
		// that it has read, and the new ones spare guests where older ones may not.
		if err := r.StopAll(ctx); err != nil {
			r.addProblem("stopping: " + err.Error())
		}
	}
	if err := r.restoreFiles(ctx); err != nil {
		return err
	}
	if err := r.restoreStore(ctx); err != nil {
		return err
	}
	if restart {
		r.startOldVersion(ctx)
	}
	return nil
}

// uninterrupted returns a context for work that must not be done by half, even if the
// caller is cancelled.
func uninterrupted(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
}

// restoreFiles restores the link and the unit files.
func (r *run) restoreFiles(ctx context.Context) error {
	if err := r.link(r.j.From.Version); err != nil {
		return err
	}
	if len(r.j.Files) == 0 {
		return nil
	}
	added, removed := changedUnits(r.j.Files)
	if len(added) > 0 { // the files say what enabled them, so before they are removed
		r.reload(ctx, nil, added)
	}
	if err := applyFiles(reversed(r.j.Files)); err != nil {
		return err
	}
	r.reload(ctx, removed, nil)
	return nil
}

func (r *run) reload(ctx context.Context, enable, disable []string) {
	// At boot systemd is busy, and the files on disk matter more.
	ctx, cancel := context.WithTimeout(ctx, reloadTimeout)
	defer cancel()
	if err := r.Reload(ctx, enable, disable); err != nil {
		r.addProblem("systemd did not read the unit files: " + err.Error())
	}
}

// restoreStore restores the store if the new version may have written to it.
func (r *run) restoreStore(ctx context.Context) error {
	if r.keepStore || !r.mayHaveWritten() {
		return nil
	}
	r.Report("restoring the store")
	return r.recordOrFail(ctx, r.Restore(ctx, r.Dir(r.j.From.Version), r.j.Backup()))
}

func (r *run) startOldVersion(ctx context.Context) {
	err := r.StartHelper(ctx)
	if err == nil {
		err = r.Start(ctx, r.Dir(r.j.From.Version))
	}
	if err != nil {
		r.addProblem("version " + r.j.From.Version + " does not start: " + err.Error())
		return
	}
	if !r.j.DownAt.IsZero() && r.j.Downtime == 0 {
		r.j.Downtime = r.Now().Sub(r.j.DownAt)
	}
	for _, p := range r.probe(ctx, r.j.From.Version) {
		r.addProblem(p)
	}
}

func (r *run) addProblem(what string) {
	r.Report("problem: " + what)
	r.j.Problems = append(r.j.Problems, what)
}

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
	r := &run{Machine: m, j: j, resumed: true}
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
	if err := r.keepNewIfNewVMs(ctx, false); err != nil {
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
		if err := r.rollBackOffline(ctx); err != nil {
			return err
		}
		if err := r.move(journal.RolledBack); err != nil {
			return err
		}
	}
	faultpoint.Reach("update", "recover", "after")
	return r.conclude()
}

func (r *run) rollBackOffline(ctx context.Context) error {
	if !r.j.Reached.Reached(journal.Units) {
		return nil
	}
	if err := r.restoreFiles(ctx); err != nil {
		return err
	}
	return r.restoreStore(ctx)
}
