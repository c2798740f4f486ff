package workspace

import (
	"context"
	"path/filepath"
	"slices"

	"banger/api"
	"banger/internal/workspace/gitrepo"
)

// Deleted lists the series of VMs that do not exist any more. existing are all VMs. Linked work
// trees have their series in the same repository, so the VMs of any workspace count.
func (w *Workspace) Deleted(ctx context.Context, existing []api.VM) ([]gitrepo.Series, error) {
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
	all, err := w.Repo.AllSeries(ctx)
	return slices.DeleteFunc(all, func(s gitrepo.Series) bool { return used[s.VM] }), err
}
