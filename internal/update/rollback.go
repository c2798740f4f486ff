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
	"banger/internal/fsx"
	"banger/internal/update/journal"
)

// reloadTimeout bounds how long systemd is waited for on the way back.
const reloadTimeout = 40 * time.Second

// writeFiles writes systemd's and udev's files before anything is stopped: systemd
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

// applyFile writes a file, or removes it where there is to be none.
func applyFile(path string, text *string) error {
	if text == nil {
		return fsx.DiskError("remove "+path, remove(path))
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return api.AsError(err)
	}
	return fsx.DiskError("write "+path, fsx.WriteFile(path, []byte(*text), 0o644))
}

// changedUnits names the units that are new, and those that go. What was there stays
// enabled or not, as its administrator wants it.
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

// reversed is the files the other way round.
func reversed(files []journal.Content) []journal.Content {
	var reversed []journal.Content
	for _, f := range files {
		reversed = append(reversed, journal.Content{Path: f.Path, Before: f.After, After: f.Before})
	}
	return reversed
}

// rollBack makes everything as it was. Daemons that do not start are a problem to
// tell of; what cannot be put back on the disk is tried again by the next updater.
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
			r.Report(err.Error()) // the way back matters more
		}
		// Before the units: systemd stops with what it has read, and the new ones spare
		// guests where older ones may not.
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

// uninterrupted is for what is not to be done by half, whoever wants us to stop.
func uninterrupted(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
}

// restoreFiles puts the link and the unit files back.
func (r *run) restoreFiles(ctx context.Context) error {
	if err := r.link(r.j.From.Version); err != nil {
		return err
	}
	if len(r.j.Files) == 0 {
		return nil
	}
	added, removed := changedUnits(r.j.Files)
	if len(added) > 0 { // while there still are files that say what enabled them
		r.reload(ctx, nil, added)
	}
	if err := applyFiles(reversed(r.j.Files)); err != nil {
		return err
	}
	r.reload(ctx, removed, nil)
	return nil
}

func (r *run) reload(ctx context.Context, enable, disable []string) {
	// At boot systemd is busy, and what is on the disk matters more.
	ctx, cancel := context.WithTimeout(ctx, reloadTimeout)
	defer cancel()
	if err := r.Reload(ctx, enable, disable); err != nil {
		r.addProblem("systemd did not read the unit files: " + err.Error())
	}
}

// restoreStore restores the store where the new version may have written to it.
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

// Recover ends an update that a loss of power interrupted. It works on files alone:
// neither daemon runs yet, and no guest outlived the machine. What was not proven
// is rolled back, what was is finished. An update of this boot is left to its
// updater. It tells whether there was anything to do.
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

// recoverLate is for an update that nothing recovered when the machine came up: the
// daemons run, and have to stop for it.
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
