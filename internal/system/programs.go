package system

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"banger/api"
	"banger/internal/commands"
	"banger/internal/host/fsx"
	"banger/internal/paths"
)

// programs are all installed programs.
var programs = []string{"banger", "bangerd", "bangerd-root", "banger-agent"}

const (
	versions    = paths.Programs + "/versions"
	current     = paths.Programs + "/current"
	stagePrefix = ".stage-"
	spareSpace  = 32 << 20 // besides the programs: units, record, logs
)

// programsIn checks that a directory contains all programs, and returns their size in
// bytes and build time.
func programsIn(dir string) (size int64, built time.Time, err error) {
	for _, name := range programs {
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
			return 0, built, api.Errorf(api.KindInvalid, "cannot install from %s: it has no program %s", dir, name).
				WithHint("make build, then: sudo bin/banger system install --owner USER")
		}
		size += info.Size()
		if info.ModTime().After(built) {
			built = info.ModTime().UTC().Truncate(time.Second)
		}
	}
	return size, built, nil
}

// programDir has the programs of each version, and the commands that link to those in use.
type programDir struct{ tree }

// copy copies the programs into their version's directory, atomically: it is
// complete, or unchanged.
func (p programDir) copy(from, version string) error {
	dir := p.path(versions)
	if err := p.makeDir(versions, 0o755, 0, 0); err != nil {
		return err
	}
	if err := p.makeDir(paths.Programs, 0o755, 0, 0); err != nil {
		return err
	}
	if err := removeStages(dir); err != nil {
		return err
	}
	stage, err := os.MkdirTemp(dir, stagePrefix)
	if err != nil {
		return fsx.DiskError("copy the programs", err)
	}
	defer os.RemoveAll(stage) // after an exchange this contains the old programs
	for _, name := range programs {
		if err := p.copyOne(filepath.Join(from, name), filepath.Join(stage, name)); err != nil {
			return fsx.DiskError("copy program "+name, err)
		}
	}
	err = errors.Join(os.Chmod(stage, 0o755), p.chown(stage, 0, 0), fsx.SyncDir(stage))
	if err == nil {
		err = fsx.Swap(stage, filepath.Join(dir, version), version == p.version())
	}
	return fsx.DiskError("install the programs", errors.Join(err, fsx.SyncDir(dir)))
}

// removeStages removes the leftovers of a killed installation.
func removeStages(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), stagePrefix) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

func (p programDir) copyOne(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Chmod(0o755), p.chown(to, 0, 0), out.Sync(), out.Close())
}

// switchTo points the link "current" at a version, atomically.
func (p programDir) switchTo(version string) error {
	return fsx.DiskError("switch to the new version", fsx.Relink("versions/"+version, p.path(current)))
}

// prune removes all versions except those in keep.
func (p programDir) prune(keep ...string) error {
	entries, err := os.ReadDir(p.path(versions))
	for _, e := range entries {
		kept := false
		for _, k := range keep {
			kept = kept || e.Name() == k
		}
		if !kept {
			err = errors.Join(err, os.RemoveAll(filepath.Join(p.path(versions), e.Name())))
		}
	}
	return err
}

// version returns the version that "current" points at, or "".
func (p programDir) version() string {
	target, err := os.Readlink(p.path(current))
	if err != nil {
		return ""
	}
	return filepath.Base(target)
}

// ourCommand reports whether banger's link of a name exists; another file in its
// place is an error.
func (p programDir) ourCommand(name string) (bool, error) {
	path := filepath.Join(paths.Commands, name)
	switch commands.Look(p.path(path)) {
	case commands.Missing:
		return false, nil
	case commands.Ours:
		return true, nil
	}
	return false, api.Errorf(api.KindConflict, "cannot install the command %s: another file is there", path).
		WithHint("sudo mv %s %s.other", path, path)
}

func (p programDir) linkCommands() error {
	for _, name := range commands.Names {
		if err := os.MkdirAll(p.path(paths.Commands), 0o755); err != nil {
			return api.AsError(err)
		}
		if err := fsx.Relink(commands.Target, filepath.Join(p.path(paths.Commands), name)); err != nil {
			return fsx.DiskError("install the command "+name, err)
		}
	}
	return nil
}

func (p programDir) unlinkCommands() error {
	for _, name := range commands.Names {
		if ours, err := p.ourCommand(name); err == nil && ours {
			if err := os.Remove(filepath.Join(p.path(paths.Commands), name)); err != nil {
				return api.AsError(err)
			}
		}
	}
	return nil
}

// delete removes the programs, and the commands that are links to them.
func (p programDir) delete() error {
	if err := p.unlinkCommands(); err != nil {
		return err
	}
	return p.remove(paths.Programs)
}
