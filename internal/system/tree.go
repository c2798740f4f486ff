package system

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"banger/api"
	"banger/internal/host/fsx"
)

// tree is the machine's file system.
type tree struct {
	root      string // "/" except in tests
	superuser int    // root's uid, except in tests
	chown     func(path string, uid, gid int) error
}

// path returns where a path of the machine is in the file system.
func (t tree) path(p string) string { return filepath.Join(t.root, p) }

// makeDir makes a directory, or sets the mode and owner of an existing one. It refuses
// a symbolic link: the target does not belong to banger.
func (t tree) makeDir(path string, mode os.FileMode, uid, gid int) error {
	full := t.path(path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return fsx.DiskError("make directory", err)
	}
	err := os.Mkdir(full, mode)
	if err != nil && !os.IsExist(err) {
		return fsx.DiskError("make directory", err)
	}
	info, err := os.Lstat(full)
	if err != nil {
		return api.AsError(err)
	}
	if !info.IsDir() {
		return api.Errorf(api.KindConflict, "cannot use %s: it is not a directory", path).
			WithHint("move %s away; to use another disk, mount it there", path)
	}
	if err := t.chown(full, uid, gid); err != nil {
		return api.Errorf(api.KindInternal, "cannot give %s to uid %d: %w", path, uid, err)
	}
	if err := os.Chmod(full, mode); err != nil {
		return api.AsError(err)
	}
	return nil
}

// ours reports whether a file that an installation wrote exists; another file in its
// place is an error.
func (t tree) ours(path, what string) (bool, error) {
	data, err := os.ReadFile(t.path(path))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return false, nil
	case err == nil && strings.HasPrefix(string(data), mark):
		return true, nil
	}
	return false, api.Errorf(api.KindConflict, "cannot install %s %s: another file is there", what, path).
		WithHint("sudo mv %s %s.other", path, path)
}

// remove removes paths with all that is below them.
func (t tree) remove(all ...string) error {
	for _, path := range all {
		if err := os.RemoveAll(t.path(path)); err != nil {
			return api.Errorf(api.KindInternal, "cannot remove %s: %w", path, err).
				WithHint("sudo banger system uninstall   continues where this one stopped")
		}
	}
	return nil
}
