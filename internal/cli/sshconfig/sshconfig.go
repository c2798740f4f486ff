// Package sshconfig adds banger's configuration of ssh to the user's own, and removes
// it again: a file of banger, and one fenced Include of it at the top of ~/.ssh/config.
// It changes nothing else there.
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
	"banger/internal/host/fsx"
)

// header is the first line of banger's file.
const header = "# Made by `banger ssh-config --install`; --uninstall removes it.\n"

// Files are the paths of the configuration.
type Files struct {
	User string // the user's own
	Ours string
}

// In returns the paths in a home directory.
func In(home string) Files {
	dir := filepath.Join(home, ".ssh")
	return Files{User: filepath.Join(dir, "config"), Ours: filepath.Join(dir, "banger_config")}
}

// Install writes banger's file with the given text and includes it in the user's. It
// calls check, which tests whether ssh accepts a file, before and after the change. It
// reports whether anything was changed.
func (f Files) Install(text string, check func(path string) error) (changed bool, err error) {
	if strings.ContainsAny(f.Ours, "\"\\*?[]%$\n") {
		return false, api.Errorf(api.KindInvalid, "cannot include %q: ssh interprets some of its characters", f.Ours)
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
			return false, api.Errorf(api.KindConflict, "cannot change %s: %w", f.User, err).WithHint("fix it first")
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

// Uninstall removes banger's lines from the user's configuration, and banger's file.
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

// ours reads banger's file; nil if there is none. It refuses a file that banger did not
// write.
func (f Files) ours() ([]byte, error) {
	data, err := os.ReadFile(f.Ours)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && !bytes.HasPrefix(data, []byte(header)) {
		return nil, api.Errorf(api.KindConflict, "%s exists, but banger did not create it", f.Ours).WithHint("move it away")
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

// config is the user's configuration at the time it was read.
type config struct {
	name string // as the user has it
	path string // links resolved
	info fs.FileInfo
	data []byte
}

// read reads a configuration; info is nil if there is none. It refuses anything but a
// regular file with one name: it could not be replaced by an equal one.
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
		return nil, api.Errorf(api.KindInvalid, "cannot change %s: it is not a regular file, has more than one name, or is too large", name)
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

// replace writes data to the file, keeping its mode and owner, if check accepts it.
func (c *config) replace(data []byte, check func(path string) error) error {
	temporary, err := os.CreateTemp(filepath.Dir(c.path), ".banger-config-")
	if err != nil {
		return api.Errorf(api.KindDenied, "cannot change %s: %w", c.name, err)
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.Write(data)
	err = errors.Join(err, c.copyMetadata(temporary), temporary.Sync(), temporary.Close())
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

// copyMetadata gives the new file the mode and owner of the old one.
func (c *config) copyMetadata(f *os.File) error {
	if c.info == nil {
		return f.Chmod(0o600)
	}
	stat, ok := c.info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.ErrUnsupported
	}
	return errors.Join(f.Chown(int(stat.Uid), int(stat.Gid)), f.Chmod(c.info.Mode().Perm()))
}

// unchanged refuses a file that was changed since it was read.
func (c *config) unchanged() error {
	now, err := os.ReadFile(c.path)
	if errors.Is(err, fs.ErrNotExist) && c.info == nil {
		return nil
	}
	if err == nil && (c.info == nil || !bytes.Equal(now, c.data)) {
		err = api.Errorf(api.KindConflict, "it was changed in the meantime")
	}
	return err
}
