package treewatch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// own is how the names begin of files that banger makes for a moment, here and in guests.
const own = ".banger-"

func isOwn(name string) bool { return strings.HasPrefix(name, own) }

func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}

// walk watches a directory and all in it, and marks them as changed.
func (w *watching) walk(ctx context.Context, dir string) error {
	for todo := []string{dir}; len(todo) > 0; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		dir := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		names, err := w.enter(dir)
		if err != nil && dir == "." {
			return err
		}
		for _, name := range names {
			if path := join(dir, name); !isOwn(name) && !w.skip.Has(path) {
				todo = append(todo, path)
			}
		}
	}
	return nil
}

// enter watches a directory, and returns the names of the directories in it. The watch comes first:
// what is made later is in an event. A directory that cannot be opened cannot be scanned either:
// not all is scanned for that. The error matters only for the top.
func (w *watching) enter(dir string) ([]string, error) {
	f, err := w.open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// By its descriptor, since another directory, or a link, may have its name by now.
	wd, err := w.inotify.Add(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), mask)
	switch {
	case errors.Is(err, unix.ENOSPC):
		w.unwatched, w.reason = append(w.unwatched, dir), reasonOf(err)
		return nil, nil
	case err != nil:
		return nil, err
	}
	w.paths[wd] = dir // of a directory that was renamed, the watch is the same
	w.changed[dir] = true
	return dirsIn(f), nil
}

// openTop opens the directory that is watched. It is not kept open: the kernel would then not say
// that it was removed.
func (w *watching) openTop() (*os.File, error) {
	f, err := os.OpenFile(w.dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	is, err := f.Stat()
	if w.is == nil {
		w.is = is
	}
	if err == nil && !os.SameFile(is, w.is) {
		err = errGone
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// open opens a directory, to which no symbolic link leads.
func (w *watching) open(dir string) (*os.File, error) {
	top, err := w.openTop()
	if err != nil {
		return nil, err
	}
	defer top.Close()
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	const attempts = 5
	for n := 1; ; n++ {
		fd, err := unix.Openat2(int(top.Fd()), dir, &how)
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), dir), nil
		case n == attempts || !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN): // a directory was renamed (openat2(2))
			return nil, err
		}
	}
}

// dirsIn returns the names of the directories in a directory.
func dirsIn(f *os.File) (names []string) {
	const atOnce = 1024
	for {
		entries, err := f.ReadDir(atOnce)
		for _, e := range entries {
			if e.Type()&fs.ModeType == fs.ModeDir {
				names = append(names, e.Name())
			}
		}
		if err != nil { // the end
			return names
		}
	}
}

// forget ends the watches of a directory and of all in it: their paths are others now.
func (w *watching) forget(dir string) {
	for wd, path := range w.paths {
		if path == dir || strings.HasPrefix(path, dir+"/") {
			w.inotify.Remove(wd)
			delete(w.paths, wd)
		}
	}
}

// reasonOf says why a directory cannot be watched.
func reasonOf(err error) string {
	for errno, limit := range map[unix.Errno]string{unix.ENOSPC: "max_user_watches", unix.EMFILE: "max_user_instances"} {
		if errors.Is(err, errno) {
			number, _ := os.ReadFile("/proc/sys/fs/inotify/" + limit)
			return fmt.Sprintf("the limit fs.inotify.%s, %s, is reached", limit, bytes.TrimSpace(number))
		}
	}
	return "directories cannot be watched: " + err.Error()
}
