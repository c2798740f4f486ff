package cli

import (
	"os"

	"banger/internal/buildinfo"
	"banger/internal/paths"
	"banger/internal/update"
	"banger/internal/update/journal"
)

// installation is the installation to update.
type installation struct {
	machine update.Machine
	from    journal.Build
	sudo    string
}

// findInstallation finds which installation this program belongs to. It reports steps to
// step.
func findInstallation(step func(string)) (installation, error) {
	p, err := paths.Choose()
	if err != nil {
		return installation{}, err
	}
	dir, err := programDir()
	if err != nil {
		return installation{}, err
	}
	if !p.Managed {
		prefix, err := update.Prefix(dir)
		build := buildinfo.Get()
		return installation{update.OfUser(p, prefix, step), journal.Build{Version: build.Version, Commit: build.Commit}, ""}, err
	}
	h := thisMachine()
	if err := h.NeedRoot("update", "banger update"); err != nil {
		return installation{}, err
	}
	r, err := h.Installed(dir)
	if _, unfinished := os.Lstat(update.SystemPlace().Journal()); unfinished == nil {
		r, err = h.Record() // in the middle of an update the programs may be of either version
	}
	return installation{update.OfSystem(h, r, step), journal.Build{Version: r.Version, Commit: r.Commit, BuiltAt: r.BuiltAt}, "sudo "}, err
}

// findUpdater returns the installation as seen by the programs that carry out an update,
// which may be of either version.
func findUpdater(step func(string)) (update.Machine, error) {
	p, err := paths.Choose()
	if err != nil {
		return update.Machine{}, err
	}
	if !p.Managed {
		dir, err := programDir()
		if err != nil {
			return update.Machine{}, err
		}
		prefix, err := update.PrefixOf(dir)
		return update.OfUser(p, prefix, step), err
	}
	h := thisMachine()
	if err := h.NeedRoot("update", "banger update"); err != nil {
		return update.Machine{}, err
	}
	r, err := h.Record()
	return update.OfSystem(h, r, step), err
}
