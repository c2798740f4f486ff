package system

import (
	"errors"
	"os"
	"syscall"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/paths"
	"banger/internal/system/record"
)

const stateDir = "/var/lib/banger"

// directories are those that an installation makes.
type directories struct{ tree }

// ownerDirs belong to the owner, and an uninstallation keeps them.
func ownerDirs() []string { return []string{paths.System().Data, paths.System().Cache} }

// check refuses to give one user's VMs to another.
func (d directories) check(r record.Record) error {
	for _, dir := range ownerDirs() {
		info, err := os.Lstat(d.path(dir))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return api.AsError(err)
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != r.UID && int(st.Uid) != d.superuser {
			return api.Errorf(api.KindConflict, "cannot install for %s: %s is left from an installation for uid %d", r.Owner, dir, st.Uid).
				WithHint("sudo banger system uninstall --purge   removes it")
		}
	}
	return nil
}

// needSpace checks the file systems that are written to.
func (d directories) needSpace(n int64) error {
	for _, dir := range []string{"/usr/local", "/etc", "/var"} {
		if err := fsx.NeedSpace(d.path(dir), n); err != nil {
			if api.KindOf(err) == api.KindNoSpace {
				return api.Errorf(api.KindNoSpace, "cannot install: %w", err).WithHint("df -h %s", dir)
			}
			return api.AsError(err)
		}
	}
	return nil
}

func (d directories) create(r record.Record) error {
	for _, dir := range []struct {
		path     string
		mode     os.FileMode
		uid, gid int
	}{
		{paths.SystemConfig, 0o755, 0, 0},
		{stateDir, 0o755, 0, 0},
		{paths.Jails, 0o711, 0, 0}, // a jail's user has to traverse it
		{paths.BootFiles, 0o755, 0, 0},
		{paths.System().Update(), 0o700, 0, 0},
		{paths.System().Data, 0o700, r.UID, r.GID},
		{paths.System().Cache, 0o700, r.UID, r.GID},
	} {
		if err := d.makeDir(dir.path, dir.mode, dir.uid, dir.gid); err != nil {
			return err
		}
	}
	return nil
}

// delete removes what can be made again, and with purge the rest. systemd preserves
// the runtime directories.
func (d directories) delete(purge bool) error {
	gone := []string{paths.System().Run, paths.RootRun, paths.Jails, paths.BootFiles, paths.System().Update()}
	if purge {
		gone = append(gone, paths.System().Cache, paths.System().Data, stateDir)
	}
	return d.remove(gone...)
}

// left returns the existing directories of banger.
func (d directories) left() []string {
	var left []string
	for _, path := range []string{paths.SystemConfig, paths.System().Data, paths.System().Cache} {
		if _, err := os.Lstat(d.path(path)); err == nil {
			left = append(left, path)
		}
	}
	return left
}
