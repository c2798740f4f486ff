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

// mayHaveWritten reports whether a rollback needs the backup of the store.
func (r *run) mayHaveWritten() bool {
	return r.j.Backup() != "" && !r.j.Unbacked && r.j.Reached.Reached(journal.Switching)
}

// newVMs returns the VMs that were created after the update recorded the existing ones.
// There are some only if no updater ran for a while. They are found by their
// directories, because no daemon may run and the store may have any schema.
func (r *run) newVMs() ([]string, error) {
	if !r.resumed {
		return nil, nil
	}
	entries, err := os.ReadDir(filepath.Dir(r.VM("x")))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, api.Errorf(api.KindInternal, "cannot list the VMs' directories: %w", err)
	}
	var added []string
	for _, e := range entries {
		if vmid.Valid(e.Name()) && !slices.Contains(r.j.VMs, e.Name()) {
			added = append(added, e.Name())
		}
	}
	return added, nil
}

// refuseIfNewVMs refuses to switch to a store that does not contain all VMs.
func (r *run) refuseIfNewVMs() error {
	added, err := r.newVMs()
	if err == nil && len(added) > 0 {
		err = api.Errorf(api.KindConflict, "its store does not contain VMs created in the meantime: %s", strings.Join(added, ", "))
	}
	return err
}

// keepNewIfNewVMs decides whether a rollback would lose VMs created since the backup.
// If it would, the backup is not restored: if the old version can use the current
// store, that store is kept; otherwise the new version stays installed.
func (r *run) keepNewIfNewVMs(ctx context.Context, online bool) error {
	if !r.resumed || r.keepStore || r.j.State != journal.RollingBack || !r.mayHaveWritten() {
		return nil
	}
	ctx, cancel := uninterrupted(ctx)
	defer cancel()
	if online {
		if err := r.takeHold(); err != nil {
			r.Report(err.Error()) // there may be new VMs nevertheless
		}
	}
	added, err := r.newVMs()
	if err != nil || len(added) == 0 {
		return err
	}
	r.Report("VMs were created in the meantime, and the backup of the store does not contain them: " + strings.Join(added, ", "))
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

// keepNewVersion makes the new version the installed one, although it was not proven.
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
	r.addProblem(fmt.Sprintf("version %s was not proven (%s), but stays installed: rolling back would lose these VMs: %s",
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
