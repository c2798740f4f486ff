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

// Kept returns what a rollback goes back to.
func (m Machine) Kept() (Kept, error) {
	none := api.Errorf(api.KindNotFound, "cannot go back: no previous version is kept").
		WithHint("%s --to VERSION   for one whose release allows it", m.command())
	var k Kept
	data, err := os.ReadFile(m.previous())
	if errors.Is(err, os.ErrNotExist) {
		return k, none
	}
	if err == nil {
		err = json.Unmarshal(data, &k)
	}
	if err != nil {
		return k, api.Errorf(api.KindInternal, "cannot read what to go back to: %w", err)
	}
	if k.Version == m.Current() {
		return k, none // by hand, or by `banger system install`
	}
	if info, err := os.Stat(m.Dir(k.Version)); err != nil || !info.IsDir() {
		return k, none
	}
	return k, nil
}

// BeginBack prepares the way back to the kept version.
func (m Machine) BeginBack(ctx context.Context, from journal.Build, o Options) (Plan, error) {
	kept, err := m.Kept()
	if err != nil {
		return Plan{From: from}, err
	}
	return m.begin(ctx, from, kept.Build, o, func(ctx context.Context, p *Plan, j *journal.Journal) error {
		if err := m.examine(ctx, m.Dir(kept.Version), p, o.UnprovenDaemon); err != nil {
			return err
		}
		j.Rollback = true
		j.Migrates = p.Schema.Have < p.Schema.Known
		if p.Schema.Cannot == "" {
			return nil
		}
		j.Restore = kept.Backup
		return m.mayRestore(ctx, kept, o.Force)
	})
}

// mayRestore decides whether the store of before may come back with the version
// that it belongs to. VMs that it does not know would be lost, so that is never
// done while there are any.
func (m Machine) mayRestore(ctx context.Context, kept Kept, force bool) error {
	if kept.Backup == "" {
		return api.Errorf(api.KindUnsupported, "cannot go back to %s: it cannot use the store that is there, and none of before is kept", kept.Version)
	}
	vms, err := m.vms(ctx)
	if err != nil {
		return api.AsError(err)
	}
	var newer []string
	for _, v := range vms {
		if !slices.Contains(kept.VMs, v.ID) {
			newer = append(newer, v.Name)
		}
	}
	if len(newer) > 0 {
		return api.Errorf(api.KindConflict, "cannot go back to %s: its store does not know the VMs that were made since: %s", kept.Version, strings.Join(newer, ", ")).
			WithHint("delete them, or stay with this version")
	}
	if !force {
		return api.Errorf(api.KindConflict, "cannot go back to %s: it needs the store of before the update, and what was changed since would be forgotten: names, settings, deleted VMs", kept.Version).
			WithHint("%s --rollback --force   if that is what you want; no VM made since is lost, as there is none", m.command())
	}
	// What is unfinished only the store that goes knows of, with the VM that it makes.
	if _, err := m.unfinished(ctx, false); err != nil {
		return api.Errorf(api.KindOf(err), "%w", err).WithHint("wait until it has ended; here --force does not go on with it")
	}
	return nil
}

// mayStillRestore asks again, now that no new work begins.
func (r *run) mayStillRestore(ctx context.Context) error {
	if r.j.Restore == "" {
		return nil
	}
	kept, err := r.Kept()
	if err != nil {
		return err
	}
	return r.mayRestore(ctx, kept, r.j.Force)
}
