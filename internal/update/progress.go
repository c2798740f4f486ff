package update

import (
	"context"
	"os"
	"path/filepath"

	"banger/api"
	"banger/internal/installlock/hold"
	"banger/internal/update/journal"
)

// progress is how far an update has come: its journal, and the hold on new work.
type progress struct {
	Machine
	j    journal.Journal
	hold *hold.Hold
}

// move goes to another state. Its work starts only when the journal is on disk. Rolling
// back proceeds even if the journal cannot be written: the previous state on disk also
// leads to rollback.
func (p *progress) move(to journal.State) error {
	if !p.j.State.MayMove(to) {
		return api.Errorf(api.KindInternal, "an update cannot move from %s to %s", p.j.State, to)
	}
	was := p.j.State
	p.j.State = to
	if err := p.write(); err != nil && !p.rollingBack() {
		p.j.State = was
		return err
	}
	return nil
}

func (p *progress) rollingBack() bool {
	return p.j.State == journal.RollingBack || p.j.State == journal.RolledBack
}

func (p *progress) fail(err error) {
	e := api.AsError(err)
	p.j.Reason, p.j.Reached = e.Message, p.j.State
	p.Report("it failed: " + e.Message)
	_ = p.move(journal.RollingBack) // proceeds even if the journal cannot be written
}

func (p *progress) addProblem(what string) {
	p.Report("problem: " + what)
	p.j.Problems = append(p.j.Problems, what)
}

// recordOrFail is reportOrFail for failures that belong in the update's outcome.
func (p *progress) recordOrFail(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil || !p.j.UnprovenDaemon {
		return err
	}
	p.addProblem("the owner's daemon: " + api.AsError(err).Message)
	return nil
}

func (p *progress) write() error {
	if p.rollingBack() {
		// Makes room for what the rollback writes.
		_ = os.Remove(filepath.Join(p.State, spareFile))
	}
	return p.j.Write(p.Journal())
}

// spareFile reserves disk space, so that the end of an update can be recorded on a full
// disk.
const (
	spareFile = "spare"
	spareSize = 256 << 10
)

// takeHold makes the hold, or makes it again if an earlier updater had it.
func (p *progress) takeHold() error {
	if p.hold != nil {
		return nil
	}
	h, err := hold.Make(p.Hold, p.j.To.Version, p.Owner)
	if err != nil {
		return api.Errorf(api.KindInternal, "cannot hold new work back: %w", err)
	}
	p.hold = h
	return nil
}

// giveUpHold lets new work begin.
func (p *progress) giveUpHold() {
	if p.hold != nil {
		_ = p.hold.Release() // a hold file without its lock holds nothing
	}
}
