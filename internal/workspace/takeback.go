package workspace

import (
	"context"
	"path/filepath"

	"banger/internal/workspace/apply"
	"banger/internal/workspace/gitrepo"
)

// Base is the commit since which changes count: the one that was last applied, or sent.
func (s Shipment) Base() string {
	if s.Applied != "" {
		return s.Applied
	}
	return s.Commit
}

// Newest is the last known commit of the guest's files.
func (w *Workspace) Newest(s Shipment) string {
	if last := w.loadState(s.VM, lastFile); last.Commit != "" {
		return last.Commit
	}
	return s.Commit
}

// Apply brings what the guest has changed into the work tree.
func (w *Workspace) Apply(ctx context.Context, s Shipment, guest string, partial bool) (apply.Result, error) {
	result, err := apply.Apply(ctx, w.Repo, apply.Request{
		Shipped: s.Base(), Guest: guest, Snapshot: w.snapshot(s, "before an apply"), Dir: w.applyDir(s.VM), Partial: partial,
	})
	if err != nil || len(result.Conflicts) > 0 {
		return result, w.diskError("apply the changes", err) // what had a conflict is still to be applied
	}
	if len(result.Written)+len(result.Removed) > 0 { // otherwise the last Apply is still an earlier one
		s.Before = s.Applied
	}
	s.Applied, s.Pending = guest, nil
	if s.Synced != "" { // the work tree has all of it
		s.Synced = guest
	}
	return result, w.Save(s)
}

// Undo takes the last Apply back.
func (w *Workspace) Undo(ctx context.Context, vm string) (apply.Undone, error) {
	s, _, err := w.Shipment(vm)
	if err != nil {
		return apply.Undone{}, err
	}
	undone, err := apply.UndoThen(ctx, w.Repo, w.applyDir(vm), w.snapshot(s, "before an undo"), func(undone apply.Undone) error {
		if undone.Shipped != "" && s.Synced == "" { // s does not know of an Apply that was killed
			s.Before = undone.Shipped
		}
		s.Applied, s.Before = s.Before, ""
		return w.Save(s)
	})
	return undone, w.diskError("take the last apply back", err)
}

func (w *state) applyDir(vm string) string { return filepath.Join(w.vmDir(vm), "apply") }

func (w *Workspace) snapshot(s Shipment, why string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		c, err := w.Repo.Snapshot(ctx, s.Series, why, gitrepo.Select{IncludeIgnored: s.Ignored})
		return c.ID, err
	}
}

// Prune removes the oldest snapshots of a series, but for those that are needed, and keep others.
func (w *Workspace) Prune(ctx context.Context, s Shipment, keep int) ([]gitrepo.Commit, error) {
	return w.Repo.Prune(ctx, s.Series, keep, nil, w.needed(s)...)
}

// needed are the commits without which something that is still to be done cannot be.
func (w *Workspace) needed(s Shipment) []string {
	all := []string{s.Commit, s.Applied, s.Before, s.Synced, w.Newest(s)}
	if s.Pending != nil {
		all = append(all, s.Pending.Host, s.Pending.Guest)
	}
	for _, c := range s.Conflicts {
		all = append(all, c.Host, c.Guest)
	}
	return all
}
