package workspace

import (
	"context"
	"path/filepath"
	"slices"

	"banger/api"
	"banger/internal/workspace/series"
)

// Deleted lists the series of VMs that do not exist any more. existing are all VMs. Linked work
// trees have their series in the same repository, so the VMs of any workspace count.
func (w *Workspace) Deleted(ctx context.Context, existing []api.VM) ([]series.Of, error) {
	used := map[string]bool{}
	for _, vm := range existing {
		used[vm.Name] = true
		// A VM that was renamed has its former name here.
		s, known, err := ShipmentTo(filepath.Dir(w.dir), vm.ID)
		if err != nil {
			return nil, err
		}
		if known {
			used[s.Series] = true
		}
	}
	if err := w.usedByOthers(used); err != nil {
		return nil, err
	}
	all, err := series.All(ctx, w.Repo)
	return slices.DeleteFunc(all, func(s series.Of) bool { return used[s.VM] }), err
}

// usedByOthers adds the series of VMs of other daemons, which may exist.
func (w *Workspace) usedByOthers(used map[string]bool) error {
	dirs, err := filepath.Glob(filepath.Join(filepath.Dir(w.dir), "*", "vms", "*"))
	for _, dir := range dirs {
		of := state{Daemon: w.Daemon, dir: filepath.Dir(filepath.Dir(dir))}
		if s, another := of.another(filepath.Base(dir)); another {
			used[s.Series] = true
		}
	}
	return err
}

// RemoveSeries removes the whole series of a VM, also in the repositories of submodules that are
// there, and returns the names.
func (w *Workspace) RemoveSeries(ctx context.Context, vm string) ([]string, error) {
	all, err := w.Repo.WithModules(ctx)
	if err != nil {
		return nil, err
	}
	repos := make([]series.Repo, 0, len(all))
	for _, r := range all {
		repos = append(repos, r)
	}
	return series.Remove(ctx, vm, repos...)
}
