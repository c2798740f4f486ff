package workspace

import (
	"banger/api"
	"banger/internal/host/fsx"
)

// hardlyAny is so little free space that a write may have failed for it.
const hardlyAny = 1 << 20

// diskError makes the error of a full disk one of kind no_space that says what failed. Git does not
// always say why it could not write a file, so the disks are looked at. Another error stays as it
// is.
func (w *Workspace) diskError(verb string, err error) error {
	switch {
	case err == nil || api.KindOf(err) == api.KindNoSpace:
		return err
	case fsx.IsNoSpace(err):
		return fsx.DiskError(verb, err)
	case api.KindOf(err) != api.KindInternal:
		return err
	}
	for _, dir := range []string{w.Repo.Top(), w.dir} {
		if full := fsx.NeedSpace(dir, hardlyAny); api.KindOf(full) == api.KindNoSpace {
			return api.Errorf(api.KindNoSpace, "cannot %s: %w (%w)", verb, err, full).WithHint("free space there: df -h %s", dir)
		}
	}
	return err
}
