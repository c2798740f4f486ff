// Package rootexec runs other programs as root: only those that root alone can change,
// found where root's programs are, whatever the environment says, and with nothing of
// that environment. All that runs as root, the root helper first of all, runs programs
// by this package.
package rootexec

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"banger/api"
	"banger/internal/host/execx"
	"banger/internal/host/fsx"
)

// SystemDirs are where a distribution has its programs (hier(7)).
var SystemDirs = []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// Run is execx.Run for a program that is found as Find does it, in SystemDirs unless
// its name is a path. Its environment is c.Env and LC_ALL.
func Run(ctx context.Context, c execx.Cmd) error {
	dirs := SystemDirs
	if filepath.IsAbs(c.Name) {
		dirs = []string{filepath.Dir(c.Name)}
	}
	path, err := Find(filepath.Base(c.Name), dirs)
	if err != nil {
		if e := api.AsError(err); e.Hint == "" && c.Package != "" {
			err = e.WithHint("sudo apt-get install %s", c.Package)
		}
		return err
	}
	c.Name, c.Bare = path, true
	return execx.Run(ctx, c)
}

// Find returns the path, without links, of the first program of a name in
// directories. One that others than root can change is an error of
// api.KindUnsupported, and so is one that is not there.
func Find(name string, dirs []string) (string, error) {
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		real, err := filepath.EvalSymlinks(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", api.Errorf(api.KindUnsupported, "cannot use %s: %w", path, err)
		}
		return real, check(real)
	}
	return "", api.Errorf(api.KindUnsupported, "%s is not installed", name)
}

// check refuses a program that root does not own, or that others may write: it is
// about to be run as root.
func check(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return api.Errorf(api.KindUnsupported, "cannot use %s: %w", path, err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid != 0 || info.Mode().Perm()&0o022 != 0 || !info.Mode().IsRegular() {
		return api.Errorf(api.KindUnsupported, "cannot use %s: others than root can change it", path).
			WithHint("sudo chown root: %[1]s && sudo chmod 755 %[1]s", path)
	}
	return checkDirs(filepath.Dir(path))
}

// checkDirs refuses a directory in which others than root can put another program
// in the place of one.
func checkDirs(dir string) error {
	err := fsx.DirsAlone(dir, 0)
	var open *fsx.OpenDirError
	switch {
	case errors.As(err, &open):
		return api.Errorf(api.KindUnsupported, "cannot use the programs in %s: others than root can change it", open.Dir).
			WithHint("sudo chown root: %[1]s && sudo chmod go-w %[1]s", open.Dir)
	case err != nil:
		return api.Errorf(api.KindUnsupported, "cannot use the programs in %s: %w", dir, err)
	}
	return nil
}
