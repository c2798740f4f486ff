package update

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"

	"banger/api"
	"banger/internal/update/journal"
)

// Previous returns the version that a rollback returns to.
func (m Machine) Previous() (PreviousVersion, error) {
	none := api.Errorf(api.KindNotFound, "cannot roll back: no previous version is kept").
		WithHint("%s --to VERSION   installs an older version whose release allows it", m.command())
	var k PreviousVersion
	data, err := os.ReadFile(m.previousFile())
	if errors.Is(err, os.ErrNotExist) {
		return k, none
	}
	if err == nil {
		err = json.Unmarshal(data, &k)
	}
	if err != nil {
		return k, api.Errorf(api.KindInternal, "cannot read which version to roll back to: %w", err)
	}
	if k.Version == m.Current() {
		return k, none // installed by hand, or by `banger system install`
	}
	if info, err := os.Stat(m.Dir(k.Version)); err != nil || !info.IsDir() {
		return k, none
	}
	return k, nil
}

// BeginRollback prepares the rollback to the previous version.
func (m Machine) BeginRollback(ctx context.Context, from journal.Build, o Options) (Plan, error) {
	previous, err := m.Previous()
	if err != nil {
		return Plan{From: from}, err
	}
	return m.begin(ctx, from, previous.Build, o, func(ctx context.Context, p *Plan, j *journal.Journal) error {
		if err := m.examine(ctx, m.Dir(previous.Version), p, o.UnprovenDaemon); err != nil {
			return err
		}
		j.Rollback = true
		j.Migrates = p.Schema.Have < p.Schema.Known
		if p.Schema.Cannot == "" {
			return nil
		}
		j.Restore = previous.Backup
		return m.checkRestore(ctx, previous, o.Force)
	})
}

// checkRestore decides whether the backup of the store may be restored together with
// the version that it belongs to. VMs that are not in the backup would be lost, so it
// refuses if there are any.
func (m Machine) checkRestore(ctx context.Context, previous PreviousVersion, force bool) error {
	if previous.Backup == "" {
		return api.Errorf(api.KindUnsupported, "cannot roll back to %s: it cannot use the current store, and there is no backup of its own store", previous.Version)
	}
	vms, err := m.vms(ctx)
	if err != nil {
		return api.AsError(err)
	}
	var unknown []string
	for _, v := range vms {
		if !slices.Contains(previous.VMs, v.ID) {
			unknown = append(unknown, v.Name)
		}
	}
	if len(unknown) > 0 {
		return api.Errorf(api.KindConflict, "cannot roll back to %s: its store does not contain VMs created since: %s", previous.Version, strings.Join(unknown, ", ")).
			WithHint("delete them, or stay with this version")
	}
	if !force {
		return api.Errorf(api.KindConflict, "cannot roll back to %s: it needs the backup of the store, and changes since the update would be lost: names, settings, deleted VMs", previous.Version).
			WithHint("%s --rollback --force   discards these changes; no VM was created since, so none is lost", m.command())
	}
	// Only the current store contains an unfinished operation, and the VM that it
	// creates.
	if _, err := m.unfinished(ctx, false); err != nil {
		return api.Errorf(api.KindOf(err), "%w", err).WithHint("wait until it has ended; --force does not continue it here")
	}
	return nil
}

// recheckRestore checks again, now that no new work starts.
func (r *run) recheckRestore(ctx context.Context) error {
	if r.j.Restore == "" {
		return nil
	}
	previous, err := r.Previous()
	if err != nil {
		return err
	}
	return r.checkRestore(ctx, previous, r.j.Force)
}
