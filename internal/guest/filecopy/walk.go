package filecopy

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
)

// walk visits file, and everything below it if it is a directory, in order of names.
// Names start with name. A symbolic link given as file is followed; links below are
// not. Files of other types are skipped with a warning; unreadable ones are counted,
// too.
type walk struct {
	from   origin
	root   string
	name   string
	warn   func(name, what string)
	visit  func(file string, e Entry) error
	links  map[inode]string // first names of files with several names
	denied int
}

type inode struct{ dev, ino uint64 }

// do walks. plain skips what needs more system calls.
func (w *walk) do(file string, plain bool) error {
	resolved, err := w.from.resolve(file)
	if err != nil {
		return err
	}
	w.root, w.links = resolved, map[inode]string{}
	return w.from.walk(resolved, func(file string, d fs.DirEntry, err error) error {
		if err == nil {
			err = w.one(file, d, plain)
		}
		switch {
		case err == nil, file == w.root:
		case errors.Is(err, fs.ErrNotExist):
			err = nil // removed in the meantime
		case errors.Is(err, fs.ErrPermission) && w.warn != nil:
			w.deny(file)
			err = nil
			if d != nil && d.IsDir() {
				err = fs.SkipDir
			}
		}
		return err
	})
}

// ErrUnread means that some files could not be read, and all others were copied.
var ErrUnread = errors.New("could not be read")

func (w *walk) unread() error {
	return api.Errorf(api.KindDenied, "%d of the files and directories %w", w.denied, ErrUnread)
}

func (w *walk) deny(file string) {
	w.denied++
	w.warn(file, "cannot be read: skipped")
}

func (w *walk) one(file string, d fs.DirEntry, plain bool) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	e := w.entry(file, info)
	switch e.Type {
	case "":
		if w.warn != nil {
			w.warn(file, describe(info.Mode()))
		}
		return nil
	case Symlink:
		e.Target, err = w.from.readlink(file)
	case File:
		if info.Sys().(*syscall.Stat_t).Nlink > 1 {
			w.linked(&e, info)
		}
	}
	if err == nil && !plain && (e.Type == File || e.Type == Dir) {
		e.Xattrs, err = w.from.xattrs(file)
	}
	if err != nil {
		return err
	}
	return w.visit(file, e)
}

func (w *walk) entry(file string, info fs.FileInfo) Entry {
	rel, err := filepath.Rel(w.root, file)
	if err != nil {
		rel = info.Name() // impossible: WalkDir joins names to the root
	}
	st := info.Sys().(*syscall.Stat_t)
	e := Entry{
		Name: path.Join(w.name, rel), Mode: st.Mode & 0o7777, UID: int(st.Uid), GID: int(st.Gid),
		MTime: time.Unix(st.Mtim.Sec, st.Mtim.Nsec),
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		e.Type, e.Size, e.Stored = File, st.Size, min(st.Size, st.Blocks*512)
	case unix.S_IFDIR:
		e.Type = Dir
	case unix.S_IFLNK:
		e.Type = Symlink
	}
	return e
}

// linked makes e another name of a file that was visited already, or remembers it as
// the first.
func (w *walk) linked(e *Entry, info fs.FileInfo) {
	st := info.Sys().(*syscall.Stat_t)
	key := inode{uint64(st.Dev), st.Ino}
	if first, ok := w.links[key]; ok {
		*e = Entry{Type: Link, Name: e.Name, Target: first}
		return
	}
	if len(w.links) < maxLinked {
		w.links[key] = e.Name
		e.Linked = true
	}
}

func describe(mode fs.FileMode) string {
	return "is " + cmp.Or(Special(mode), "not a regular file") + ": skipped"
}

// Special returns the type of a file that cannot be copied; empty for others.
func Special(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return ""
}

// changed reports whether a file was written to since st.
func changed(f *os.File, st *syscall.Stat_t) bool {
	var now syscall.Stat_t
	return syscall.Fstat(int(f.Fd()), &now) != nil || now.Size != st.Size || now.Mtim != st.Mtim
}
