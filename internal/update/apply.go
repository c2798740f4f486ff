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
	"banger/internal/fsx"
	"banger/internal/update/hold"
	"banger/internal/update/journal"
)

// maxAttempts is how often an updater takes up an update that its predecessors
// were killed at, before it is rolled back.
const maxAttempts = 5

// rollbackTimeout bounds a way back, which goes on whoever wants us to stop.
const rollbackTimeout = 5 * time.Minute

// run is an update at work.
type run struct {
	Machine
	j    journal.Journal
	hold *hold.Hold
	// resumed: nobody was at work on it for a while, so that nothing was held back.
	resumed bool
	// keepStore: the way back restores no store, see reconsider.
	keepStore bool
}

// Apply carries out the update whose journal is there, from wherever it is, to its
// end, and returns the account. It may be killed at any moment and called again.
func (m Machine) Apply(ctx context.Context) (journal.Journal, error) {
	unlock, err := m.lockFor(ctx, true)
	if err != nil {
		return journal.Journal{}, err
	}
	defer unlock()
	j, err := journal.Read(m.Journal())
	if errors.Is(err, os.ErrNotExist) {
		return j, api.Errorf(api.KindNotFound, "cannot go on with an update: none has been begun").WithHint("banger update")
	}
	if err != nil {
		return j, err
	}
	boot, err := m.BootID()
	if err != nil {
		return j, err
	}
	if boot != j.BootID { // nothing of what it knew of processes holds any more
		return m.recoverLate(ctx, j)
	}
	r := &run{Machine: m, j: j, resumed: j.State != journal.Prepared}
	err = r.runToEnd(ctx)
	return r.j, err
}

func (r *run) runToEnd(ctx context.Context) error {
	defer func() {
		if r.hold != nil {
			_ = r.hold.Release() // what is left of it holds nothing
		}
	}()
	r.j.Attempts++
	if err := r.write(); err != nil && !r.rollingBack() {
		return r.rollBackUnwritten(ctx, err)
	}
	if r.j.Attempts > maxAttempts && r.j.State.MayMove(journal.RollingBack) {
		r.fail(fmt.Errorf("it was interrupted %d times", maxAttempts))
	}
	for !r.j.State.Ended() {
		if err := r.keepNewIfNewVMs(ctx, true); err != nil {
			return err
		}
		if err := r.step(ctx); err != nil {
			return err
		}
	}
	return r.conclude()
}

// rollBackUnwritten rolls back what cannot even be written down.
func (r *run) rollBackUnwritten(ctx context.Context, err error) error {
	if !r.j.State.MayMove(journal.RollingBack) {
		return err
	}
	r.fail(err)
	return r.runToEnd(ctx)
}

// step does what the state says and moves on.
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

// next is where a state leads when all is well: the table's first move.
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
		return r.rollBack(ctx)
	}
	return fmt.Errorf("nothing is done in state %q", s)
}

// move goes to another state. What is done there is begun only when that is on the
// disk; but a way back needs nobody's leave, and where the disk is full the state
// before stands there, which leads back as well.
func (r *run) move(to journal.State) error {
	if !r.j.State.MayMove(to) {
		return api.Errorf(api.KindInternal, "an update cannot go from %s to %s", r.j.State, to)
	}
	was := r.j.State
	r.j.State = to
	if err := r.write(); err != nil && !r.rollingBack() {
		r.j.State = was
		return err
	}
	return nil
}

func (r *run) rollingBack() bool {
	return r.j.State == journal.RollingBack || r.j.State == journal.RolledBack
}

func (r *run) fail(err error) {
	e := api.AsError(err)
	r.j.Reason, r.j.Reached = e.Message, r.j.State
	r.Report("it failed: " + e.Message)
	_ = r.move(journal.RollingBack) // which needs no leave
}

func (r *run) write() error {
	if r.rollingBack() {
		// Room for what is written on the way back.
		_ = os.Remove(filepath.Join(r.State, spareFile))
	}
	return r.j.Write(r.Journal())
}

// spareFile keeps some room on the disk, so that a full one does not keep the end
// of an update from being written down.
const (
	spareFile = "spare"
	spareSize = 256 << 10
)

func (r *run) stopDaemon(ctx context.Context) error {
	if err := r.takeHold(); err != nil {
		return err
	}
	// The helper needs a second or two. Where the store stays as it is, the daemon is
	// there meanwhile: it waits for a helper that is restarted, and no new work comes.
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
	r.Report("stopping the daemon; guests run on")
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
	if r.j.Restore == "" { // the copy that is made knows them
		added, err := r.newVMs()
		if err != nil {
			return err
		}
		r.j.VMs = append(r.j.VMs, added...)
	}
	err := r.BackUp(ctx, r.Dir(r.j.From.Version), r.j.Backup())
	if err != nil && r.j.Restore == "" && r.recordOrFail(ctx, err) == nil {
		r.j.Unbacked = true // a copy of that name is an older one's
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
		if err := r.refuseIfNewVMs(); err != nil {
			return err
		}
	}
	if err := r.link(r.j.To.Version); err != nil || r.j.Restore == "" {
		return err
	}
	r.Report("restoring the store of version " + r.j.To.Version)
	return r.Restore(ctx, r.Dir(r.j.From.Version), r.j.Restore)
}

func (r *run) link(version string) error {
	return fsx.DiskError("switch to version "+version, fsx.Relink(filepath.Join(versionsDir, version), filepath.Join(r.Prefix, currentLink)))
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
	problems := r.probe(ctx, r.j.To.Version)
	if len(problems) > 0 && r.j.UnprovenDaemon && ctx.Err() == nil {
		err := r.proveHelper(ctx, r.j.To.Version)
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

// PreviousVersion is what `banger update --rollback` goes back to.
type PreviousVersion struct {
	journal.Build
	// Backup names the copy of the store of before the update, where that changed
	// the schema; VMs are the ids of those that the copy knows.
	Backup string   `json:"backup,omitempty"`
	VMs    []string `json:"vms,omitempty"`
}

// commit makes the new version the installed one. Where somebody has installed another
// one meanwhile, that is what is wanted: it is left alone, with all that is there.
func (r *run) commit() error {
	if now := r.Current(); now != r.j.To.Version {
		r.j.Reason = fmt.Sprintf("meanwhile version %s was installed, which is left as it is", now)
		return nil
	}
	r.Report("keeping version " + r.j.From.Version + " for: banger update --rollback")
	previous := PreviousVersion{Build: r.j.From, Backup: r.j.Backup(), VMs: r.j.VMs}
	if r.j.Unbacked {
		previous.Backup = ""
	}
	if err := fsx.WriteJSON(r.previousFile(), previous); err != nil {
		return fsx.DiskError("write down the previous version", err)
	}
	if err := r.Record(r.j.To); err != nil {
		return err
	}
	return r.prune(r.j.From.Version, r.j.To.Version)
}

// prune removes all versions but those to keep, and the one that is installed.
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

// conclude leaves the account and takes the journal away. It can be repeated.
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
		return api.Errorf(api.KindInternal, "the update is over, and its journal could not be put away: %w", err)
	}
	return nil
}

// Summary says in lines how an update ended.
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
		lines = append(lines, "it was rolled back: banger is version "+j.From.Version+", as before")
	}
	for _, p := range j.Problems {
		lines = append(lines, "look at this: "+p)
	}
	return lines
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
