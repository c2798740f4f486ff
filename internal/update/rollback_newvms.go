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
func (u *undo) mayHaveWritten() bool {
	return u.j.Backup() != "" && !u.j.Unbacked && u.j.Reached.Reached(journal.Switching)
}

// newVMs returns the VMs that were created after the update recorded the existing ones.
// There are some only if no updater ran for a while. They are found by their
// directories, because no daemon may run and the store may have any schema.
func (u *undo) newVMs() ([]string, error) {
	if !u.resumed {
		return nil, nil
	}
	entries, err := os.ReadDir(filepath.Dir(u.VM("x")))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, api.Errorf(api.KindInternal, "cannot list the VMs' directories: %w", err)
	}
	var added []string
	for _, e := range entries {
		if vmid.Valid(e.Name()) && !slices.Contains(u.j.VMs, e.Name()) {
			added = append(added, e.Name())
		}
	}
	return added, nil
}

// refuseIfNewVMs refuses to switch to a store that does not contain all VMs.
func (u *undo) refuseIfNewVMs() error {
	added, err := u.newVMs()
	if err == nil && len(added) > 0 {
		err = api.Errorf(api.KindConflict, "its store does not contain VMs created in the meantime: %s", strings.Join(added, ", "))
	}
	return err
}

// keepNewIfNewVMs decides whether a rollback would lose VMs created since the backup.
// If it would, the backup is not restored: if the old version can use the current
// store, that store is kept; otherwise the new version stays installed.
func (u *undo) keepNewIfNewVMs(ctx context.Context, online bool) error {
	if !u.resumed || u.keepStore || u.j.State != journal.RollingBack || !u.mayHaveWritten() {
		return nil
	}
	ctx, cancel := uninterrupted(ctx)
	defer cancel()
	if online {
		if err := u.takeHold(); err != nil {
			u.Report(err.Error()) // there may be new VMs nevertheless
		}
	}
	added, err := u.newVMs()
	if err != nil || len(added) == 0 {
		return err
	}
	u.Report("VMs were created in the meantime, and the backup of the store does not contain them: " + strings.Join(added, ", "))
	s, err := u.Migrations(ctx, u.Dir(u.j.From.Version))
	if err != nil {
		return err
	}
	if s.Cannot == "" && s.Have == s.Known {
		u.keepStore = true
		return nil
	}
	return u.keepNewVersion(ctx, added, online)
}

// keepNewVersion makes the new version the installed one, although it was not proven.
func (u *undo) keepNewVersion(ctx context.Context, added []string, online bool) error {
	err := applyFiles(u.j.Files)
	if err == nil {
		err = u.link(u.j.To.Version)
	}
	if err != nil {
		return err
	}
	if len(u.j.Files) > 0 {
		enable, disable := changedUnits(u.j.Files)
		u.reload(ctx, enable, disable)
	}
	if online {
		u.startNewVersion(ctx)
	}
	u.addProblem(fmt.Sprintf("version %s was not proven (%s), but stays installed: rolling back would lose these VMs: %s",
		u.j.To.Version, u.j.Reason, strings.Join(added, ", ")))
	u.j.Reason, u.j.Reached = "", ""
	return u.move(journal.Committing)
}

func (u *undo) startNewVersion(ctx context.Context) {
	err := u.StartHelper(ctx)
	if err == nil {
		err = u.Start(ctx, u.Dir(u.j.To.Version))
	}
	if err != nil {
		u.addProblem("version " + u.j.To.Version + " does not start: " + err.Error())
	}
}
