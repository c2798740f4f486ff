package worktest

import (
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"banger/api"
	"banger/internal/workspace/incoming"
	"banger/internal/workspace/treesync"
)

// Temporary begins the names of files that Placer makes for a moment.
const Temporary = ".banger-place-"

// Placer writes files of a guest that is a directory of this host.
type Placer struct {
	// Before, unless nil, is called before each change; its error is that of the change.
	Before func(name string) error
	// Break, unless nil, is called before each change; its error ends all.
	Break func(name string) error
}

// Place makes changes below dir, as a guest does.
func (p *Placer) Place(ctx context.Context, dir string, changes iter.Seq[treesync.Change], each func(treesync.Placed) error) error {
	for c := range changes {
		if err := ctx.Err(); err != nil {
			return err
		}
		if p.Break != nil {
			if err := p.Break(c.Path); err != nil {
				return err
			}
		}
		placed := treesync.Placed{Path: c.Path}
		if p.Before != nil {
			placed.Err = p.Before(c.Path)
		}
		if placed.Err == nil {
			placed.Entry, placed.Err = place(dir, c)
		}
		if err := each(placed); err != nil {
			return err
		}
	}
	return nil
}

var errOther = api.Errorf(api.KindConflict, "it is not what was expected")

func place(dir string, c treesync.Change) (incoming.Entry, error) {
	full := filepath.Join(dir, c.Path)
	if real, err := filepath.EvalSymlinks(filepath.Dir(full)); err == nil && real != filepath.Dir(full) {
		return incoming.Entry{}, errOther
	}
	now, err := EntryOf(dir, c.Path)
	if err != nil && !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ENOTDIR) {
		return incoming.Entry{}, err
	}
	if now.Type == incoming.TypeDir && c.Expect.Type == "" && c.Type != "" {
		now = incoming.Entry{} // an empty one gives way
		if err := removeEmpty(full); err != nil {
			return incoming.Entry{}, err
		}
	}
	if now != c.Expect {
		return incoming.Entry{}, errOther
	}
	if c.Type == "" {
		return incoming.Entry{}, removeWithParents(dir, c.Path)
	}
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return incoming.Entry{}, err
	}
	temporary := filepath.Join(filepath.Dir(full), Temporary+"x")
	_ = os.Remove(temporary)
	if err := write(temporary, c); err != nil {
		return incoming.Entry{}, err
	}
	if err := os.Rename(temporary, full); err != nil {
		return incoming.Entry{}, err
	}
	return EntryOf(dir, c.Path)
}

func write(temporary string, c treesync.Change) error {
	if c.Type == incoming.TypeLink {
		return os.Symlink(c.Link, temporary)
	}
	in, err := c.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	data, err := io.ReadAll(in)
	switch {
	case err != nil:
		return err
	case int64(len(data)) != c.Size:
		return errors.New("the size is wrong")
	}
	return errors.Join(os.WriteFile(temporary, data, 0o600), os.Chmod(temporary, os.FileMode(c.Mode)))
}

func removeEmpty(dir string) error {
	return filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.IsDir() {
			return errOther
		}
		if entries, _ := os.ReadDir(name); len(entries) == 0 {
			return errors.Join(os.Remove(name), filepath.SkipDir)
		}
		return nil
	})
}

func removeWithParents(dir, name string) error {
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		return err
	}
	for name = path.Dir(name); name != "." && os.Remove(filepath.Join(dir, name)) == nil; name = path.Dir(name) {
	}
	return nil
}

// EntryOf is what a listing of dir has of a path.
func EntryOf(dir, name string) (incoming.Entry, error) {
	full := filepath.Join(dir, name)
	info, err := os.Lstat(full)
	if err != nil {
		return incoming.Entry{}, err
	}
	st := info.Sys().(*syscall.Stat_t)
	e := incoming.Entry{
		Path: name, Type: "other", Mode: st.Mode & 0o7777, Size: st.Size, MTime: st.Mtim.Nano(), CTime: st.Ctim.Nano(), Inode: st.Ino,
	}
	switch {
	case info.IsDir():
		e.Type = incoming.TypeDir
	case info.Mode().IsRegular():
		e.Type = incoming.TypeFile
	case info.Mode()&os.ModeSymlink != 0:
		e.Type = incoming.TypeLink
		e.Link, err = os.Readlink(full)
	}
	return e, err
}

// IsTemporary reports whether a name is one of Placer's.
func IsTemporary(name string) bool { return strings.HasPrefix(path.Base(name), Temporary) }
