package manifest

import (
	"encoding/binary"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"banger/internal/treewatch"
)

// An event is
//
//	flags reason number (path)…
//
// with the paths in the order of their bytes, each once.
const (
	flagReady = 1
	flagAll   = 2

	// maxReason is the longest reason in bytes; that of the kernel's limit has 60.
	maxReason = 400
)

// WriteEvent writes what changed in a directory, for ReadEvents.
func WriteEvent(w io.Writer, e treewatch.Event) error {
	b := []byte{0}
	if e.Ready {
		b[0] |= flagReady
	}
	if e.All {
		b[0] |= flagAll
	}
	b = appendText(b, e.Reason[:min(len(e.Reason), maxReason)])
	b = binary.AppendUvarint(b, uint64(len(e.Dirs)))
	for _, dir := range e.Dirs {
		b = appendText(b, dir)
	}
	_, err := w.Write(b)
	return err
}

// ReadEvents reads events until the stream ends, which is ErrCut, or each returns an error.
func ReadEvents(r io.Reader, each func(treewatch.Event) error) error {
	// An event is bounded by the number of its directories, and so is the memory that it takes.
	const most = (treewatch.MaxDirs + 1) * (maxPath + 16)
	in := newInput(r, most, ErrCut)
	for {
		in.left = most
		e, err := in.event()
		if err != nil {
			return err
		}
		if err := each(e); err != nil {
			return err
		}
	}
}

func (in *input) event() (e treewatch.Event, err error) {
	flags, err := in.number(flagReady | flagAll)
	if err != nil {
		return e, err
	}
	e.Ready, e.All = flags&flagReady != 0, flags&flagAll != 0
	if e.Reason, err = in.reasonText(); err != nil {
		return e, err
	}
	n, err := in.number(treewatch.MaxDirs)
	if err != nil {
		return e, err
	}
	for range n {
		dir, err := in.text()
		if err != nil {
			return e, err
		}
		if dir != "." {
			if err := CheckPath(dir); err != nil {
				return e, violation("%s: %w", quote(dir), err)
			}
		}
		if len(e.Dirs) > 0 && dir <= e.Dirs[len(e.Dirs)-1] {
			return e, violation("%s comes after %s", quote(dir), quote(e.Dirs[len(e.Dirs)-1]))
		}
		e.Dirs = append(e.Dirs, dir)
	}
	return e, nil
}

// reasonText reads a text that is shown on a terminal.
func (in *input) reasonText() (string, error) {
	n, err := in.number(maxReason)
	if err != nil || n == 0 {
		return "", err
	}
	b := make([]byte, n)
	for got := 0; got < len(b); {
		some, err := in.Read(b[got:])
		if err != nil {
			return "", err
		}
		got += some
	}
	if !utf8.Valid(b) || strings.ContainsFunc(string(b), func(r rune) bool { return !unicode.IsPrint(r) }) {
		return "", violation("a reason is not a text: %s", quote(string(b)))
	}
	return string(b), nil
}
