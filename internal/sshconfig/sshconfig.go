// Package sshconfig puts banger's configuration of ssh beside the user's own, and
// takes it out again: a file of banger's, and one fenced Include of it at the top
// of ~/.ssh/config. Nothing else there is touched.
package sshconfig

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"banger/api"
	"banger/internal/fsx"
)

// header is the first line of a file of ours.
const header = "# Made by `banger ssh-config --install`; --uninstall removes it.\n"

// Files are where the configuration is.
type Files struct {
	User string // the user's own
	Ours string
}

// In returns the files of a home directory.
func In(home string) Files {
	dir := filepath.Join(home, ".ssh")
	return Files{User: filepath.Join(dir, "config"), Ours: filepath.Join(dir, "banger_config")}
}

// Install writes our file with the given text and includes it in the user's. check
// is asked whether ssh takes a file, before and after; it says whether anything
// was changed.
func (f Files) Install(text string, check func(path string) error) (changed bool, err error) {
	if strings.ContainsAny(f.Ours, "\"\\*?[]%$\n") {
		return false, api.Errorf(api.KindInvalid, "cannot include %q: ssh gives some of its characters a meaning", f.Ours)
	}
	if err := os.MkdirAll(filepath.Dir(f.User), 0o700); err != nil {
		return false, api.Errorf(api.KindDenied, "cannot make %s: %w", filepath.Dir(f.User), err)
	}
	user, err := read(f.User)
	if err != nil {
		return false, err
	}
	parts, err := user.take()
	if err != nil {
		return false, err
	}
	if user.info != nil {
		if err := check(user.path); err != nil {
			return false, api.Errorf(api.KindConflict, "cannot change %s: %w", f.User, err).WithHint("mend it first")
		}
	}
	wrote, err := f.writeOurs(text)
	if err != nil {
		return wrote, err
	}
	config := put(parts.rest, f.Ours, user.info == nil || parts.made)
	if bytes.Equal(config, user.data) {
		return wrote, nil
	}
	err = user.replace(config, check)
	if err != nil && !parts.there {
		err = errors.Join(err, os.Remove(f.Ours)) // nothing includes it
	}
	return true, err
}

// Uninstall takes our lines out of the user's configuration and removes our file.
func (f Files) Uninstall() (changed bool, err error) {
	user, err := read(f.User)
	if err != nil {
		return false, err
	}
	parts, err := user.take()
	if err != nil {
		return false, err
	}
	switch {
	case parts.made && len(parts.rest) == 0:
		err = os.Remove(user.path)
	case parts.there:
		err = user.replace(parts.rest, func(string) error { return nil })
	}
	if err != nil {
		return false, err
	}
	ours, err := f.ours()
	if err != nil || ours == nil {
		return parts.there, err
	}
	return true, os.Remove(f.Ours)
}

// ours reads our file; nil is none. One that somebody else made is refused.
func (f Files) ours() ([]byte, error) {
	data, err := os.ReadFile(f.Ours)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && !bytes.HasPrefix(data, []byte(header)) {
		return nil, api.Errorf(api.KindConflict, "%s is there, and banger did not make it", f.Ours).WithHint("move it away")
	}
	return data, err
}

func (f Files) writeOurs(text string) (bool, error) {
	old, err := f.ours()
	if err != nil || old != nil && string(old) == header+text {
		return false, err
	}
	return true, fsx.WriteFile(f.Ours, []byte(header+text), 0o600)
}

// config is the user's configuration as it was read.
type config struct {
	name string // as the user has it
	path string // links resolved
	info fs.FileInfo
	data []byte
}

// read reads a configuration; info is nil where there is none. What is no plain
// file of its own is refused: it could not be replaced by one that is the same.
func read(name string) (*config, error) {
	c := &config{name: name, path: name}
	if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	path, err := filepath.EvalSymlinks(name)
	if err != nil {
		return nil, api.Errorf(api.KindInvalid, "cannot read %s: %w", name, err)
	}
	c.path = path
	if c.info, err = os.Lstat(path); err != nil {
		return nil, api.Errorf(api.KindInvalid, "cannot read %s: %w", name, err)
	}
	stat, ok := c.info.Sys().(*syscall.Stat_t)
	if !ok || !c.info.Mode().IsRegular() || stat.Nlink != 1 || c.info.Size() > maxConfig {
		return nil, api.Errorf(api.KindInvalid, "cannot change %s: it is no plain file, has more than one name, or is too large", name)
	}
	if c.data, err = os.ReadFile(path); err != nil {
		return nil, api.Errorf(api.KindDenied, "cannot read %s: %w", name, err)
	}
	return c, nil
}

func (c *config) take() (fenced, error) {
	parts, err := take(c.data)
	if err != nil {
		e := api.AsError(err)
		return parts, api.Errorf(e.Kind, "cannot change %s: %w", c.name, err).WithHint("%s", e.Hint)
	}
	return parts, nil
}

// replace puts data in the file's place, with its mode and owner, once check has
// nothing against it.
func (c *config) replace(data []byte, check func(path string) error) error {
	temporary, err := os.CreateTemp(filepath.Dir(c.path), ".banger-config-")
	if err != nil {
		return api.Errorf(api.KindDenied, "cannot change %s: %w", c.name, err)
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.Write(data)
	err = errors.Join(err, c.dress(temporary), temporary.Sync(), temporary.Close())
	if err == nil {
		err = check(temporary.Name())
	}
	if err == nil {
		err = c.unchanged()
	}
	if err == nil {
		err = os.Rename(temporary.Name(), c.path)
	}
	if err != nil {
		return api.Errorf(api.AsError(err).Kind, "cannot change %s: %w", c.name, err)
	}
	return fsx.SyncDir(filepath.Dir(c.path))
}

// dress gives the new file the mode and owner of the old one.
func (c *config) dress(f *os.File) error {
	if c.info == nil {
		return f.Chmod(0o600)
	}
	stat, ok := c.info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.ErrUnsupported
	}
	return errors.Join(f.Chown(int(stat.Uid), int(stat.Gid)), f.Chmod(c.info.Mode().Perm()))
}

// unchanged refuses a file that somebody has written to since it was read.
func (c *config) unchanged() error {
	now, err := os.ReadFile(c.path)
	if errors.Is(err, fs.ErrNotExist) && c.info == nil {
		return nil
	}
	if err == nil && (c.info == nil || !bytes.Equal(now, c.data)) {
		err = api.Errorf(api.KindConflict, "it was changed meanwhile")
	}
	return err
}
