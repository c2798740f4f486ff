package manifest

import (
	"io"
	"strings"

	"golang.org/x/sys/unix"
)

// Read reads a list that List wrote, with the same options, and calls each with its entries: a
// directory before what is in it, and the names of a directory in the order of their bytes. An
// error of each ends it. If the stream ends too early the error is ErrCut.
func Read(r io.Reader, o Options, each func(Entry) error) error {
	o = o.WithDefaults()
	rd := &reader{input: newInput(r, o.Bytes, o.tooLong()), o: o, dirs: []level{{}}}
	for len(rd.dirs) > 0 {
		kind, err := rd.ReadByte()
		if err != nil {
			return err
		}
		if kind == kindEnd {
			rd.dirs = rd.dirs[:len(rd.dirs)-1]
			continue
		}
		e, err := rd.entry(kind)
		if err != nil {
			return err
		}
		if err := each(e); err != nil {
			return err
		}
	}
	return rd.end()
}

type reader struct {
	*input
	o     Options
	last  deltas
	count int64
	dirs  []level // the directories that have not ended: maxPath bounds them
}

// level is a directory whose entries are being read.
type level struct {
	path string // with a slash at its end, unless it is the directory itself
	last string // name
}

// entry reads an entry after its kind.
func (rd *reader) entry(kind byte) (Entry, error) {
	if rd.count++; rd.count > rd.o.Entries {
		return Entry{}, rd.o.tooMany()
	}
	e, err := typeOf(kind)
	if err != nil {
		return e, err
	}
	if e.Path, err = rd.name(); err != nil {
		return e, err
	}
	if err := rd.last.read(rd.input, &e); err != nil {
		return e, err
	}
	if e.Type == Link {
		if e.Link, err = rd.text(); err != nil {
			return e, err
		}
		if strings.ContainsRune(e.Link, 0) {
			return e, violation("the link %s has a target with a NUL byte", quote(e.Path))
		}
	}
	if kind&flagUnread != 0 {
		if e.Unread, err = rd.reason(); err != nil {
			return e, err
		}
	}
	if kind == kindDir {
		rd.dirs = append(rd.dirs, level{path: e.Path + "/"})
	}
	return e, nil
}

// name reads the name of an entry and returns its path.
func (rd *reader) name() (string, error) {
	name, err := rd.text()
	if err != nil {
		return "", err
	}
	if err := checkName(name); err != nil {
		return "", violation("%w", err)
	}
	in := &rd.dirs[len(rd.dirs)-1]
	if name <= in.last {
		return "", violation("%s comes after %s", quote(name), quote(in.last))
	}
	if len(in.path)+len(name) > maxPath {
		return "", violation("a path has more than %d bytes", maxPath)
	}
	in.last = name
	return in.path + name, nil
}

// reason reads a number of Linux's errors and returns its text.
func (in *input) reason() (string, error) {
	errno, err := in.number(maxErrno)
	if err == nil && errno == 0 {
		err = violation("the number of an error is 0")
	}
	return unix.Errno(errno).Error(), err
}

// maxErrno is Linux's (MAX_ERRNO, include/linux/err.h).
const maxErrno = 4095

// typeOf returns an entry of a kind.
func typeOf(kind byte) (Entry, error) {
	e := Entry{Skipped: kind&flagSkipped != 0}
	switch kind {
	case kindFile:
		e.Type = File
	case kindLink:
		e.Type = Link
	case kindDir, kindDir | flagSkipped, kindDir | flagUnread:
		e.Type = Dir
	case kindOther, kindOther | flagUnread:
		e.Type = Other
	default:
		return e, violation("an entry is of kind %#x", kind)
	}
	return e, nil
}
