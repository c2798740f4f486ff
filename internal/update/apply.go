package update

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"banger/api"
	"banger/internal/faultpoint"
	"banger/internal/host/fsx"
	"banger/internal/installlock/hold"
	"banger/internal/update/journal"
)

// maxAttempts is how many updaters may be killed during one update before it is rolled
// back.
const maxAttempts = 5

// rollbackTimeout bounds a rollback, which ignores cancellation.
const rollbackTimeout = 5 * time.Minute

// run carries out an update.
type run struct {
	*progress
	proof proof
	undo  *undo
}

// newRun continues the update in a journal. resumed: no updater ran for a while, so new work
// was not held back.
func newRun(m Machine, j journal.Journal, resumed bool) *run {
	p := &progress{Machine: m, j: j}
	return &run{progress: p, proof: proof{p}, undo: &undo{progress: p, proof: proof{p}, resumed: resumed}}
}

// Apply carries out the update in the journal, from whatever state it is in, to its
// end, and returns the finished journal. It may be killed at any moment and called
// again.
func (m Machine) Apply(ctx context.Context) (journal.Journal, error) {
	unlock, err := m.lockFor(ctx, true)
	if err != nil {
		return journal.Journal{}, err
	}
	defer unlock()
	j, err := journal.Read(m.Journal())
	if errors.Is(err, os.ErrNotExist) {
		return j, api.Errorf(api.KindNotFound, "cannot continue an update: none was started").WithHint("banger update")
	}
	if err != nil {
		return j, err
	}
	boot, err := m.BootID()
	if err != nil {
		return j, err
	}
	if boot != j.BootID { // the host was rebooted: the processes in the journal are gone
		return m.recoverLate(ctx, j)
	}
	r := newRun(m, j, j.State != journal.Prepared)
	err = r.runToEnd(ctx)
	return r.j, err
}

func (r *run) runToEnd(ctx context.Context) error {
	defer r.giveUpHold()
	r.j.Attempts++
	if err := r.write(); err != nil && !r.rollingBack() {
		return r.rollBackUnwritten(ctx, err)
	}
	if r.j.Attempts > maxAttempts && r.j.State.MayMove(journal.RollingBack) {
		r.fail(fmt.Errorf("it was interrupted %d times", maxAttempts))
	}
	for !r.j.State.Ended() {
		if err := r.undo.keepNewIfNewVMs(ctx, true); err != nil {
			return err
		}
		if err := r.step(ctx); err != nil {
			return err
		}
	}
	return r.conclude()
}

// rollBackUnwritten rolls back an update whose journal cannot be written.
func (r *run) rollBackUnwritten(ctx context.Context, err error) error {
	if !r.j.State.MayMove(journal.RollingBack) {
		return err
	}
	r.fail(err)
	return r.runToEnd(ctx)
}

// step does what the state asks for and moves to the next state.
func (r *run) step(ctx context.Context) error {
	state := r.j.State
	faultpoint.Reach("update", string(state), "before")
	err := r.do(ctx, state)
	faultpoint.Reach("update", string(state), "after")
	if err == nil {
		err = r.move(next(state))
	}
	if err == nil {
		return nil
	}
	if !state.MayMove(journal.RollingBack) {
		return err
	}
	r.fail(err)
	return nil
}

// next returns the state that follows s if all goes well: the first of the table's row.
func next(s journal.State) journal.State {
	for _, row := range journal.Table {
		if row.State == s {
			return row.Next[0]
		}
	}
	return s
}

func (r *run) do(ctx context.Context, s journal.State) error {
	switch s {
	case journal.Prepared:
		return nil
	case journal.Holding:
		return r.preflight(ctx)
	case journal.Units:
		return r.writeFiles(ctx)
	case journal.Stopping:
		return r.stopDaemon(ctx)
	case journal.BackingUp:
		return r.backUp(ctx)
	case journal.Switching:
		return r.switchOver(ctx)
	case journal.Starting:
		return r.start(ctx)
	case journal.Probing:
		return r.prove(ctx)
	case journal.Committing:
		return r.commit()
	case journal.RollingBack:
		return r.undo.rollBack(ctx)
	}
	return fmt.Errorf("nothing is done in state %q", s)
}

func (r *run) stopDaemon(ctx context.Context) error {
	if err := r.takeHold(); err != nil {
		return err
	}
	// The helper needs a second or two. If the store stays as it is, the daemon keeps
	// running: it waits for a helper that restarts, and the hold refuses new
	// work.
	if r.j.Backup() == "" {
		r.Report("switching to version " + r.j.To.Version)
		if err := r.link(r.j.To.Version); err != nil {
			return err
		}
		if err := r.StartHelper(ctx); err != nil {
			return err
		}
	}
	if r.j.DownAt.IsZero() {
		r.j.DownAt = r.Now().UTC()
	}
	r.Report("stopping the daemon; guests keep running")
	return r.StopDaemon(ctx)
}

func (r *run) backUp(ctx context.Context) error {
	if r.j.Backup() == "" {
		return nil
	}
	r.Report("backing up the store")
	if err := r.StopDaemon(ctx); err != nil {
		return err
	}
	if r.j.Restore == "" { // the backup contains them
		added, err := r.undo.newVMs()
		if err != nil {
			return err
		}
		r.j.VMs = append(r.j.VMs, added...)
	}
	err := r.BackUp(ctx, r.Dir(r.j.From.Version), r.j.Backup())
	if err != nil && r.j.Restore == "" && r.recordOrFail(ctx, err) == nil {
		r.j.Unbacked = true // a backup of that name belongs to an older update
		return nil
	}
	return err
}

func (r *run) switchOver(ctx context.Context) error {
	if r.j.Backup() != "" {
		r.Report("switching to version " + r.j.To.Version)
	}
	if err := r.StopDaemon(ctx); err != nil {
		return err
	}
	if r.j.Restore != "" {
		if err := r.undo.refuseIfNewVMs(); err != nil {
			return err
		}
	}
	if err := r.link(r.j.To.Version); err != nil || r.j.Restore == "" {
		return err
	}
	r.Report("restoring the store of version " + r.j.To.Version)
	return r.Restore(ctx, r.Dir(r.j.From.Version), r.j.Restore)
}

func (r *run) start(ctx context.Context) error {
	if err := r.takeHold(); err != nil {
		return err
	}
	r.Report("starting version " + r.j.To.Version)
	if r.j.Backup() != "" {
		if err := r.StartHelper(ctx); err != nil {
			return err
		}
	}
	if err := r.Start(ctx, r.Dir(r.j.To.Version)); err != nil {
		return r.recordOrFail(ctx, err)
	}
	r.j.Downtime = r.Now().Sub(r.j.DownAt).Round(time.Millisecond)
	r.Report(fmt.Sprintf("the API is up again after %d ms", r.j.Downtime.Milliseconds()))
	return nil
}

func (r *run) prove(ctx context.Context) error {
	if err := r.takeHold(); err != nil {
		return err
	}
	r.Report(fmt.Sprintf("proving version %s for %s", r.j.To.Version, r.j.Settle))
	problems := r.proof.probe(ctx, r.j.To.Version)
	if len(problems) > 0 && r.j.UnprovenDaemon && ctx.Err() == nil {
		err := r.proof.ofHelper(ctx, r.j.To.Version)
		if err == nil {
			return r.recordOrFail(ctx, errors.New(strings.Join(problems, "; ")))
		}
		problems = append(problems, err.Error())
	}
	if len(problems) > 0 {
		return api.Errorf(api.KindInternal, "version %s did not prove itself: %s", r.j.To.Version, strings.Join(problems, "; "))
	}
	return ctx.Err()
}

// PreviousVersion is the version that `banger update --rollback` returns to.
type PreviousVersion struct {
	journal.Build
	// Backup names the copy of the store from before the update, if the update changed
	// the schema. VMs are the ids of the VMs in that copy.
	Backup string   `json:"backup,omitempty"`
	VMs    []string `json:"vms,omitempty"`
}

// commit makes the new version the installed one. If another version was installed in
// the meantime, commit changes nothing.
func (r *run) commit() error {
	if now := r.Current(); now != r.j.To.Version {
		r.j.Reason = fmt.Sprintf("version %s was installed in the meantime and stays installed", now)
		return nil
	}
	r.Report("keeping version " + r.j.From.Version + " for: banger update --rollback")
	previous := PreviousVersion{Build: r.j.From, Backup: r.j.Backup(), VMs: r.j.VMs}
	if r.j.Unbacked {
		previous.Backup = ""
	}
	if err := fsx.WriteJSON(r.previousFile(), previous); err != nil {
		return fsx.DiskError("record the previous version", err)
	}
	if err := r.Record(r.j.To); err != nil {
		return err
	}
	r.addCommands()
	return r.prune(r.j.From.Version, r.j.To.Version)
}

// prune removes all versions except those in keep and the installed one.
func (m Machine) prune(keep ...string) error {
	entries, err := os.ReadDir(filepath.Join(m.Prefix, versionsDir))
	for _, e := range entries {
		if e.Name() != m.Current() && !slices.Contains(keep, e.Name()) {
			err = errors.Join(err, os.RemoveAll(m.Dir(e.Name())))
		}
	}
	if err != nil {
		return api.Errorf(api.KindInternal, "cannot remove older versions: %w", err)
	}
	return nil
}

// conclude writes the outcome and removes the journal. It can be repeated.
func (r *run) conclude() error {
	if r.j.FinishedAt.IsZero() {
		r.j.FinishedAt = r.Now().UTC()
	}
	for _, line := range Summary(r.j) {
		r.Report(line)
	}
	err := r.j.Write(r.Last())
	err = errors.Join(err, hold.Remove(r.Hold), remove(r.Journal()), fsx.SyncDir(r.State))
	err = errors.Join(err, remove(filepath.Join(r.Prefix, updatingLink)), remove(filepath.Join(r.State, spareFile)))
	if err != nil {
		return api.Errorf(api.KindInternal, "the update has ended, but its journal could not be removed: %w", err)
	}
	return nil
}

// Summary describes in lines how an update ended.
func Summary(j journal.Journal) []string {
	var lines []string
	switch {
	case !j.Made():
		lines = append(lines, fmt.Sprintf("the update to %s was not made: %s", j.To.Version, j.Reason))
	case len(j.Problems) > 0:
		lines = append(lines, fmt.Sprintf("version %s is installed", j.To.Version))
	default:
		lines = append(lines, fmt.Sprintf("version %s has proven itself", j.To.Version))
	}
	switch {
	case j.State == journal.Done:
	case !j.Reached.Reached(journal.Units):
		lines = append(lines, "nothing was changed")
	default:
		lines = append(lines, "it was rolled back to version "+j.From.Version)
	}
	for _, p := range j.Problems {
		lines = append(lines, "problem: "+p)
	}
	return lines
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
