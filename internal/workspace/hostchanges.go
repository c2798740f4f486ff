package workspace

import (
	"context"
	"maps"
	"slices"

	"banger/api"
	"banger/internal/workspace/gitrepo"
)

// CheckSync refuses a sync of what was sent by --commit: it would send what is not committed.
func (s Shipment) CheckSync() error {
	if !s.Committed {
		return nil
	}
	return api.Errorf(api.KindConflict, "cannot sync: VM %s was sent HEAD alone (--commit), and a sync sends what is not committed, too", s.Series).
		WithHint("banger sync --all   if it may have that from now on; banger work apply brings the VM's changes here without it")
}

// HostChanges returns the paths in which the work tree differs from what both sides have agreed on
// last, sorted. If HEAD's tree alone was sent, they are those that HEAD has otherwise than it had
// then, and otherwise than the guest.
func (w *Workspace) HostChanges(ctx context.Context, s Shipment) ([]string, error) {
	o := gitrepo.Select{Commit: s.Committed, IncludeIgnored: s.Ignored}
	now, err := w.Repo.Snapshot(ctx, s.Series, "when it was compared with VM "+s.Series, o)
	if err != nil {
		return nil, err
	}
	since := s.Agreed()
	if s.Committed { // what was applied is in the work tree, and need not be in HEAD
		since = s.Commit
	}
	changed, err := w.between(ctx, since, now.ID)
	if err == nil && s.Committed && len(changed) > 0 {
		var others map[string]bool
		others, err = w.between(ctx, w.Newest(s), now.ID)
		maps.DeleteFunc(changed, func(name string, _ bool) bool { return !others[name] })
	}
	return append([]string{}, slices.Sorted(maps.Keys(changed))...), err
}
