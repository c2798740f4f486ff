package manifest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"golang.org/x/sys/unix"

	"banger/api"
)

// Fetched is one of the files that were requested. It is valid until the function to which it
// was given returns.
type Fetched struct {
	// Entry describes the file as it was when it was opened. If there is an Err, only its path
	// is known.
	Entry
	// Err is the reason for a missing content: of kind not_found if the file does not exist, of kind
	// invalid if the path leads to neither a file nor a link.
	Err error
	// Content is the content of a file, or the target of a link; nil if there is an Err. That of
	// a file has Size bytes, or ends with an error.
	Content io.Reader

	file *content // nil: not a file
}

// After reads the rest of the content, and returns how the file was then. cut means that it has
// more bytes than those Size that Content had. The error is that of Content, or Err.
func (f Fetched) After() (e Entry, cut bool, err error) {
	if f.Err != nil || f.file == nil {
		return f.Entry, false, f.Err
	}
	if err := f.file.finish(); !errors.Is(err, io.EOF) {
		return Entry{}, false, err
	}
	return f.file.after, f.file.cut, nil
}

// Request writes the names of files, for Serve.
func Request(w io.Writer, names []string) error {
	b := bufio.NewWriterSize(w, 32<<10)
	var buf []byte
	for _, name := range names {
		buf = appendText(buf[:0], name)
		if _, err := b.Write(buf); err != nil {
			return err
		}
	}
	return b.Flush()
}

// Receive reads the answer of Serve to a request, and calls each with one file after the other.
// An error of each ends it. If the stream ends too early the error is ErrCut.
//
// A guest can send a content of any Size, which each may refuse. The rest of a content that each
// does not read to its end is read, and dropped.
func Receive(r io.Reader, names []string, each func(Fetched) error) error {
	in := newInput(r, math.MaxInt64, ErrCut)
	for _, name := range names {
		f, err := in.fetched(name)
		if err != nil {
			return err
		}
		if err := f.settle(each(f)); err != nil {
			return err
		}
	}
	return in.end()
}

// settle returns the error of a function that was called with f, or of the stream, which comes
// first: the function's may follow from it. Without an error it reads the rest of the content.
func (f Fetched) settle(err error) error {
	if f.file == nil {
		return err
	}
	if err == nil {
		_ = f.file.finish() // that the file could not be read is in After
	}
	if f.file.failed != nil && !f.file.ended {
		return f.file.failed
	}
	return err
}

// fetched reads the part of the answer for one path, but for the content of a file.
func (in *input) fetched(name string) (Fetched, error) {
	f := Fetched{Entry: Entry{Path: name}}
	answer, err := in.ReadByte()
	if err != nil {
		return f, err
	}
	switch answer {
	case answerRefused:
		f.Err, err = in.refusal(name)
		return f, err
	case answerLink:
		return f, in.link(&f)
	case answerFile:
		f.Type = File
		if err := new(deltas).read(in, &f.Entry); err != nil {
			return f, err
		}
		f.file = &content{in: in, entry: f.Entry, left: f.Size}
		f.Content = f.file
		return f, nil
	}
	return f, violation("an answer is of kind %d", answer)
}

// refusal reads the reason for a missing content.
func (in *input) refusal(name string) (refused, err error) {
	number, err := in.number(maxErrno)
	if err != nil {
		return nil, err
	}
	errno := unix.Errno(number)
	kind := api.KindInternal
	switch errno {
	case 0:
		return api.Errorf(api.KindInvalid, "cannot fetch %s: it is neither a file nor a link", quote(name)), nil
	case unix.ENOENT:
		return api.Errorf(api.KindNotFound, "cannot fetch %s: no such file", quote(name)), nil
	case unix.EACCES, unix.EPERM:
		kind = api.KindDenied
	}
	return api.Errorf(kind, "cannot fetch %s: %w", quote(name), errno), nil
}

func (in *input) link(f *Fetched) error {
	f.Type = Link
	err := new(deltas).read(in, &f.Entry)
	if err == nil {
		f.Link, err = in.text()
	}
	if err == nil && strings.ContainsRune(f.Link, 0) {
		err = violation("the link %s has a target with a NUL byte", quote(f.Path))
	}
	f.Content = strings.NewReader(f.Link)
	return err
}

// content reads the content of a file, and what follows it.
type content struct {
	in    *input
	entry Entry // when it was opened
	left  int64 // bytes of its size
	piece int64 // bytes of the piece that is being read

	failed error // what Read returns from now on
	ended  bool  // everything was read, whatever failed is
	after  Entry
	cut    bool
}

func (c *content) Read(p []byte) (int, error) {
	if c.failed == nil && c.piece == 0 {
		c.failed = c.next()
	}
	if c.failed != nil || len(p) == 0 {
		return 0, c.failed
	}
	n, err := c.in.Read(p[:min(int64(len(p)), c.piece)])
	c.piece -= int64(n)
	c.left -= int64(n)
	c.failed = err
	if n == 0 {
		return 0, err
	}
	return n, nil
}

// next reads the length of the next piece, or what follows the last.
func (c *content) next() error {
	n, err := c.in.number(math.MaxInt64)
	switch {
	case err != nil:
		return err
	case n > uint64(c.left):
		return violation("%s has more bytes than its size, %d", quote(c.entry.Path), c.entry.Size)
	case n == 0:
		return c.ending()
	}
	c.piece = int64(n)
	return nil
}

// ending reads what follows the last piece, and returns what a reader of the content gets.
func (c *content) ending() error {
	ending, err := c.in.ReadByte()
	if err != nil {
		return err
	}
	result := io.EOF
	switch ending {
	case endingWhole, endingCut:
		if c.left > 0 {
			return violation("%d bytes of %s are missing", c.left, quote(c.entry.Path))
		}
		c.cut = ending == endingCut
	case endingShorter:
		result = api.Errorf(api.KindConflict, "cannot fetch %s: it became shorter while it was read", quote(c.entry.Path))
	case endingFailed:
		reason, err := c.in.reason()
		if err != nil {
			return err
		}
		result = api.Errorf(api.KindInternal, "cannot read %s in the guest: %w", quote(c.entry.Path), errors.New(reason))
	default:
		return violation("the ending of %s is of kind %d", quote(c.entry.Path), ending)
	}
	c.after = Entry{Path: c.entry.Path, Type: File}
	if err := new(deltas).read(c.in, &c.after); err != nil {
		return err
	}
	c.ended = true
	return result
}

// finish reads the rest, and returns io.EOF if the content was complete.
func (c *content) finish() error {
	var buf []byte
	for c.failed == nil {
		if buf == nil {
			buf = make([]byte, pieceSize)
		}
		_, _ = c.Read(buf)
	}
	return c.failed
}

// CheckNames refuses names that cannot be requested.
func CheckNames(names []string) error {
	for _, name := range names {
		if err := CheckPath(name); err != nil {
			return fmt.Errorf("%s: %w", quote(name), err)
		}
	}
	return nil
}
