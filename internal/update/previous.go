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

// Previous returns what a rollback goes back to.
func (m Machine) Previous() (PreviousVersion, error) {
	none := api.Errorf(api.KindNotFound, "cannot go back: no previous version is kept").
		WithHint("%s --to VERSION   for one whose release allows it", m.command())
	var k PreviousVersion
	data, err := os.ReadFile(m.previousFile())
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

// BeginRollback prepares the way back to the kept version.
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

// checkRestore decides whether the store of before may come back with the version
// that it belongs to. VMs that it does not know would be lost, so that is never
// done while there are any.
func (m Machine) checkRestore(ctx context.Context, previous PreviousVersion, force bool) error {
	if previous.Backup == "" {
		return api.Errorf(api.KindUnsupported, "cannot go back to %s: it cannot use the store that is there, and none of before is kept", previous.Version)
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
		return api.Errorf(api.KindConflict, "cannot go back to %s: its store does not know the VMs that were made since: %s", previous.Version, strings.Join(unknown, ", ")).
			WithHint("delete them, or stay with this version")
	}
	if !force {
		return api.Errorf(api.KindConflict, "cannot go back to %s: it needs the store of before the update, and what was changed since would be forgotten: names, settings, deleted VMs", previous.Version).
			WithHint("%s --rollback --force   if that is what you want; no VM made since is lost, as there is none", m.command())
	}
	// What is unfinished only the store that goes knows of, with the VM that it makes.
	if _, err := m.unfinished(ctx, false); err != nil {
		return api.Errorf(api.KindOf(err), "%w", err).WithHint("wait until it has ended; here --force does not go on with it")
	}
	return nil
}

// recheckRestore asks again, now that no new work begins.
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
