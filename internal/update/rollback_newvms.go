package update

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"banger/api"
	"banger/internal/update/journal"
	"banger/internal/vmid"
)

// mayHaveWritten tells whether the way back needs the copy of the store.
func (r *run) mayHaveWritten() bool {
	return r.j.Backup() != "" && !r.j.Unbacked && r.j.Reached.Reached(journal.Switching)
}

// newVMs are the VMs that were made since the update had looked, which can only be
// where nobody was at work on it for a while. They are found by their directories:
// no daemon may run, and the store may have any schema.
func (r *run) newVMs() ([]string, error) {
	if !r.resumed {
		return nil, nil
	}
	entries, err := os.ReadDir(filepath.Dir(r.VM("x")))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, api.Errorf(api.KindInternal, "cannot see which VMs there are: %w", err)
	}
	var added []string
	for _, e := range entries {
		if vmid.Valid(e.Name()) && !slices.Contains(r.j.VMs, e.Name()) {
			added = append(added, e.Name())
		}
	}
	return added, nil
}

// refuseIfNewVMs refuses to go on to a store that does not know them all.
func (r *run) refuseIfNewVMs() error {
	added, err := r.newVMs()
	if err == nil && len(added) > 0 {
		err = api.Errorf(api.KindConflict, "its store does not know the VMs that were made meanwhile: %s", strings.Join(added, ", "))
	}
	return err
}

// keepNewIfNewVMs looks at a way back before it is gone: the store of before does not know
// VMs that were made since, and restoring it would lose them. So it is not restored.
// Either the store that is there is the old version's own already, or only the new
// version can use it, and has been used: then that is kept.
func (r *run) keepNewIfNewVMs(ctx context.Context, online bool) error {
	if !r.resumed || r.keepStore || r.j.State != journal.RollingBack || !r.mayHaveWritten() {
		return nil
	}
	ctx, cancel := uninterrupted(ctx)
	defer cancel()
	if online {
		if err := r.takeHold(); err != nil {
			r.Report(err.Error()) // there may be VMs all the same
		}
	}
	added, err := r.newVMs()
	if err != nil || len(added) == 0 {
		return err
	}
	r.Report("VMs were made meanwhile, and the store of before would not know them: " + strings.Join(added, ", "))
	s, err := r.Migrations(ctx, r.Dir(r.j.From.Version))
	if err != nil {
		return err
	}
	if s.Cannot == "" && s.Have == s.Known {
		r.keepStore = true
		return nil
	}
	return r.keepNewVersion(ctx, added, online)
}

// keepNewVersion makes the new version the installed one, although it has not proven itself.
func (r *run) keepNewVersion(ctx context.Context, added []string, online bool) error {
	err := applyFiles(r.j.Files)
	if err == nil {
		err = r.link(r.j.To.Version)
	}
	if err != nil {
		return err
	}
	if len(r.j.Files) > 0 {
		enable, disable := changedUnits(r.j.Files)
		r.reload(ctx, enable, disable)
	}
	if online {
		r.startNewVersion(ctx)
	}
	r.addProblem(fmt.Sprintf("version %s has not proven itself (%s), and is kept: that of before cannot use the store, which alone knows the VMs made meanwhile: %s",
		r.j.To.Version, r.j.Reason, strings.Join(added, ", ")))
	r.j.Reason, r.j.Reached = "", ""
	return r.move(journal.Committing)
}

func (r *run) startNewVersion(ctx context.Context) {
	err := r.StartHelper(ctx)
	if err == nil {
		err = r.Start(ctx, r.Dir(r.j.To.Version))
	}
	if err != nil {
		r.addProblem("version " + r.j.To.Version + " does not start: " + err.Error())
	}
}
