package hostfiles

import (
	"errors"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"banger/api"
	"banger/internal/guest/filecopy"
)

// errMissing means that the host has no such file.
var errMissing = errors.New("this host has no such file")

// homeDir returns the home directory of the daemon's user, who is the owner.
func homeDir() (string, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		var u *user.User
		if u, err = user.Current(); err != nil {
			return "", api.Errorf(api.KindUnsupported, "cannot find your home directory: %w", err)
		}
		home = u.HomeDir
	}
	return filepath.EvalSymlinks(home)
}

// open opens a file or directory of the host for a copy. A symbolic link is followed within the
// home directory, and outside of it within the link's own directory. The caller closes the
// source's Root.
func (cp *copying) open(host string) (filecopy.Source, error) {
	if rel, ok := strings.CutPrefix(host, "~/"); ok {
		if cp.homeErr != nil {
			return filecopy.Source{}, missing(cp.homeErr)
		}
		host = filepath.Join(cp.home, rel)
	}
	within := cp.home
	if rel, err := filepath.Rel(cp.home, host); err != nil || !filepath.IsLocal(rel) {
		dir, err := filepath.EvalSymlinks(filepath.Dir(host))
		if err != nil {
			return filecopy.Source{}, missing(err)
		}
		within, host = dir, filepath.Join(dir, filepath.Base(host))
	}
	return openWithin(within, host)
}

func openWithin(dir, host string) (filecopy.Source, error) {
	full, err := filepath.EvalSymlinks(host)
	if err != nil {
		return filecopy.Source{}, missing(err)
	}
	rel, err := filepath.Rel(dir, full)
	if err != nil || !filepath.IsLocal(rel) {
		return filecopy.Source{}, api.Errorf(api.KindDenied, "it is a symbolic link out of %s, which is not followed", dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return filecopy.Source{}, missing(err)
	}
	src := filecopy.Source{Root: root, File: rel}
	info, err := root.Lstat(rel)
	if err == nil {
		if what := filecopy.Special(info.Mode()); what != "" {
			err = api.Errorf(api.KindInvalid, "it is %s, which is not copied", what)
		}
	}
	if err != nil {
		root.Close()
		return filecopy.Source{}, missing(err)
	}
	return src, nil
}

// missing marks the error of a file that does not exist.
func missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errMissing
	}
	return err
}
