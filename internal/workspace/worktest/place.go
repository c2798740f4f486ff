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
	"time"

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
	switch {
	case now.Type == incoming.TypeDir && c.Expect.Type == incoming.TypeDir && now.Inode == c.Expect.Inode:
		if os.Remove(full) != nil {
			return incoming.Entry{}, errOther
		}
		if c.Type == "" {
			removeParents(dir, c.Path)
			return incoming.Entry{}, nil
		}
	case now != c.Expect:
		return incoming.Entry{}, errOther
	}
	if c.Type == "" {
		err := os.Remove(full)
		removeParents(dir, c.Path)
		return incoming.Entry{}, err
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
	return errors.Join(os.WriteFile(temporary, data, 0o600), os.Chmod(temporary, os.FileMode(c.Mode)), older(temporary))
}

// older makes the file's mtime one that no later write gives it.
func older(name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	at := info.ModTime().Add(-time.Nanosecond)
	return os.Chtimes(name, at, at)
}

func removeParents(dir, name string) {
	for name = path.Dir(name); name != "." && os.Remove(filepath.Join(dir, name)) == nil; name = path.Dir(name) {
	}
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
