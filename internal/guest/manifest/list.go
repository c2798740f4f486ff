package manifest

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"banger/internal/treewatch"
)

// List writes the list of what is below the directory dir to w, for Read. What changes meanwhile
// may be in the list as before, as after, or missing from it.
func List(ctx context.Context, w io.Writer, dir string, o Options) error {
	if err := o.Check(); err != nil {
		return err
	}
	top, err := openRoot(dir)
	if err != nil {
		return err
	}
	defer top.Close()
	l := &lister{ctx: ctx, root: top, o: o.WithDefaults(), skip: treewatch.NewSkips(o.Skip), w: bufio.NewWriterSize(w, 32<<10)}
	defer l.forget()
	f, _, err := l.openDir(".")
	if err != nil {
		return err
	}
	l.only = newOnly(o.Only)
	names, err := l.names(f, "")
	if err != nil {
		return err
	}
	l.remember("", f)
	if err := l.dir("", names); err != nil {
		return err
	}
	return l.w.Flush()
}

type lister struct {
	ctx  context.Context
	root root
	o    Options
	skip treewatch.Skips
	only only
	w    *bufio.Writer
	buf  []byte
	last deltas

	// The directory of the last entry, which is often that of the next. No other is open, however
	// deep the walk is.
	open *os.File
	at   string

	found, held int64 // names, and bytes of names, that were read
	written     int64 // bytes
}

// seen is an entry as it was seen.
type seen struct {
	Entry
	errno unix.Errno // sent in the place of Entry.Unread
	names []string   // of a directory that is entered
	enter bool
}

// dir writes the entries of a directory, and its end.
func (l *lister) dir(dir string, names []string) error {
	for _, name := range names {
		s, ok, err := l.see(dir, name)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if err := l.write(name, s); err != nil {
			return err
		}
		if s.enter {
			if err := l.dir(s.Path, s.names); err != nil {
				return err
			}
		}
	}
	return l.put([]byte{kindEnd})
}

func (l *lister) write(name string, s seen) error {
	kind := kindOf[s.Type]
	if s.Skipped {
		kind |= flagSkipped
	}
	if s.errno != 0 {
		kind |= flagUnread
	}
	b := appendText(append(l.buf[:0], kind), name)
	b = l.last.appendTo(b, s.Entry)
	if s.Type == Link {
		b = appendText(b, s.Link)
	}
	if s.errno != 0 {
		b = binary.AppendUvarint(b, uint64(s.errno))
	}
	l.buf = b
	return l.put(b)
}

func (l *lister) put(b []byte) error {
	if l.written += int64(len(b)); l.written > l.o.Bytes {
		return l.o.tooLong()
	}
	_, err := l.w.Write(b)
	return err
}

// see looks at an entry, and reads the names of a directory. ok is false if the entry
// does not exist any more.
func (l *lister) see(dir, name string) (s seen, ok bool, err error) {
	for range attempts {
		s, err = l.look(dir, name)
		if !errors.Is(err, errChanged) {
			break
		}
	}
	errno := unix.Errno(0)
	switch {
	case errors.Is(err, errChanged):
		errno = unix.EBUSY // it changes all the time
	case errors.As(err, &errno) && isGone(errno):
		return seen{}, false, nil
	case err != nil && errno == 0:
		return seen{}, false, err
	}
	if errno != 0 { // nothing is known of it but its name
		s = seen{Entry: Entry{Path: path.Join(dir, name), Type: Other}, errno: errno}
	}
	return s, true, nil
}

// errChanged means that an entry has become another while it was looked at.
var errChanged = errors.New("it changed")

func (l *lister) look(dir, name string) (seen, error) {
	in, err := l.dirOf(dir)
	if err != nil {
		return seen{}, err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(in, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return seen{}, err
	}
	s := seen{Entry: entryOf(path.Join(dir, name), &st)}
	switch s.Type {
	case Link:
		s.Link, err = readlink(in, name)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) {
			err = errChanged
		}
	case Dir:
		if l.skip.Has(s.Path) {
			s.Skipped = true
			break
		}
		if !l.only.enters(s.Path) {
			s.enter = true // and nothing in it is listed
			break
		}
		return l.lookInto(s)
	}
	return s, err
}

// lookInto reads the names of a directory, which is then described as it was when they were read.
func (l *lister) lookInto(s seen) (seen, error) {
	f, st, err := l.openDir(s.Path)
	if isGone(err) {
		return s, errChanged
	}
	if err == nil {
		s.Entry, s.enter = entryOf(s.Path, st), true
		s.names, err = l.names(f, s.Path)
		if err == nil && len(s.names) > 0 {
			l.remember(s.Path, f)
		} else {
			f.Close()
		}
	}
	if errors.As(err, &s.errno) {
		s.enter, s.names, err = false, nil, nil
	}
	return s, err
}

// openDir opens a directory and returns its attributes.
func (l *lister) openDir(name string) (*os.File, *unix.Stat_t, error) {
	fd, err := l.root.open(name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return nil, nil, err
	}
	return os.NewFile(uintptr(fd), name), &st, nil
}

// namesAtOnce is how many names are read before the limits are checked.
const namesAtOnce = 1024

// names reads the names of a directory. An error is a syscall.Errno if others can be read.
func (l *lister) names(f *os.File, dir string) ([]string, error) {
	if !l.only.has(dir) {
		return l.only.leads[dir], nil
	}
	var all []string
	longest := 0
	for {
		some, err := f.Readdirnames(namesAtOnce)
		for _, name := range some {
			longest = max(longest, len(name))
			l.held += int64(len(name))
		}
		l.found += int64(len(some))
		all = append(all, some...)
		switch {
		case l.found > l.o.Entries:
			return nil, l.o.tooMany()
		case l.held > l.o.Bytes:
			return nil, l.o.tooLong()
		case l.ctx.Err() != nil:
			return nil, l.ctx.Err()
		case errors.Is(err, io.EOF):
			if len(dir)+1+longest > maxPath {
				return nil, unix.ENAMETOOLONG // no path leads to it
			}
			all = slices.DeleteFunc(all, isTemporary)
			slices.Sort(all)
			return slices.Compact(all), nil // a directory that changes may return a name twice
		case err != nil:
			return nil, err
		}
	}
}

// dirOf returns the open directory of a path.
func (l *lister) dirOf(dir string) (fd int, err error) {
	if l.open == nil || l.at != dir {
		f, _, err := l.openDir(path.Join(".", dir))
		if err != nil {
			return 0, err
		}
		l.remember(dir, f)
	}
	return int(l.open.Fd()), nil
}

func (l *lister) remember(dir string, f *os.File) {
	l.forget()
	l.open, l.at = f, dir
}

func (l *lister) forget() {
	if l.open != nil {
		l.open.Close()
	}
	l.open = nil
}
