package manifest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"strings"

	"banger/api"
	"banger/internal/guest/filecopy"
)

// Change is what a path is to become.
type Change struct {
	Path string // relative to the directory, in its shortest form
	// Expect is what the path was when it was listed: what is there otherwise is left alone. The
	// zero value means that nothing is there. Of a directory only type and inode are compared,
	// and it has to be empty.
	Expect Entry
	Type   string // File or Link; "" removes the path
	Mode   uint32 // of a file: the lower 12 bits of stat(2)'s st_mode
	Size   int64  // of a file's content, in bytes
	Link   string // a link's target
	// Open opens a file's content. It is not called for a change that is refused before.
	Open func() (io.ReadCloser, error)
}

// Placed is what became of a Change.
type Placed struct {
	Path  string
	Entry Entry // as the path is now; the zero value if it was removed, or there is an Err
	// Err is why nothing was done: of kind conflict if the path is not what was expected, or its
	// content became another while it was read, and of kind no_space if the guest's disk is full.
	Err error
}

// Temporary is how the names begin that a file has for a moment while it is placed. They are in
// no list.
const Temporary = ".banger-place-"

// check refuses a change that cannot be made.
func (c Change) check() error {
	err := CheckPath(c.Path)
	_, known := kindOf[c.Expect.Type]
	switch {
	case err != nil:
		return err
	case strings.HasPrefix(path.Base(c.Path), Temporary):
		return errors.New("its name is one of banger's own")
	case c.Type == "" && c.Expect.Type == "":
		return errors.New("nothing is there")
	case !known && c.Expect.Type != "":
		return fmt.Errorf("its type is %q", c.Expect.Type)
	case c.Expect.Type == Link:
		err = checkTarget(c.Expect.Link)
	}
	switch {
	case err != nil:
		return err
	case c.Type == Link:
		return checkTarget(c.Link)
	case c.Type == File && (c.Size < 0 || c.Mode > 0o7777 || c.Open == nil):
		return errors.New("it has no content, or an invalid mode")
	case c.Type != File && c.Type != "":
		return fmt.Errorf("it cannot become a %s", c.Type)
	}
	return nil
}

func checkTarget(target string) error {
	if target == "" || len(target) > maxPath || strings.ContainsRune(target, 0) {
		return errors.New("its target is not one of a link")
	}
	return nil
}

// verb is what the change does, for errors.
func (c Change) verb() string {
	if c.Type == "" {
		return "remove"
	}
	return "write"
}

// maxUnanswered is how many changes are sent ahead of the answers.
const maxUnanswered = 1024

// Changes is one use of Place, by the host: Send and Receive run concurrently.
type Changes struct {
	sent   chan sentChange
	stop   chan struct{} // closed when no more answers are read
	failed error         // of Send; known once sent is closed
}

// sentChange is a change that has an answer, or an error without one.
type sentChange struct {
	path, kind, link, verb string
	err                    error
	unsent                 bool // no answer comes
}

// NewChanges returns one.
func NewChanges() *Changes {
	return &Changes{sent: make(chan sentChange, maxUnanswered), stop: make(chan struct{})}
}

// Send writes changes for Place. Each is written at once, so that what makes the next may wait
// for the result of this one. Its error is the error of w, which Receive returns, too.
func (c *Changes) Send(w io.Writer, changes iter.Seq[Change]) error {
	defer close(c.sent)
	s := &sender{w: bufio.NewWriterSize(w, 2*pieceSize), piece: make([]byte, pieceSize)}
	for change := range changes {
		sent := sentChange{path: change.Path, kind: change.Type, link: change.Link, verb: change.verb()}
		if err := change.check(); err != nil {
			sent.err = api.Errorf(api.KindInvalid, "cannot %s %s: %w", sent.verb, quote(change.Path), err)
			sent.unsent = true
		} else if sent.unsent, sent.err, c.failed = s.send(change); c.failed != nil {
			return c.failed
		}
		select {
		case c.sent <- sent:
		case <-c.stop:
			return nil
		}
	}
	return nil
}

type sender struct {
	w     *bufio.Writer
	buf   []byte
	piece []byte
}

// send writes a change. The first error is that of its content: the change is not made.
func (s *sender) send(c Change) (unsent bool, content, err error) {
	b := appendChange(s.buf[:0], c)
	s.buf = b
	if c.Type != File {
		_, err := s.w.Write(b)
		return false, nil, errors.Join(err, s.w.Flush())
	}
	from, err := c.Open()
	if err != nil {
		return true, unread(c.Path, err), nil
	}
	defer from.Close()
	if _, err := s.w.Write(b); err != nil {
		return false, nil, err
	}
	content, err = s.content(from, c)
	ending := byte(endingWhole)
	if content != nil {
		ending = endingFailed
	}
	if err == nil {
		_, err = s.w.Write([]byte{0, ending})
	}
	return false, content, errors.Join(err, s.w.Flush())
}

// content writes the pieces of a content. The first error is one of reading it.
func (s *sender) content(from io.Reader, c Change) (content, err error) {
	for left := c.Size; left > 0; {
		n, err := io.ReadFull(from, s.piece[:min(left, pieceSize)])
		if err != nil {
			return unread(c.Path, err), nil
		}
		left -= int64(n)
		s.buf = binary.AppendUvarint(s.buf[:0], uint64(n))
		_, err = s.w.Write(s.buf)
		if err == nil {
			_, err = s.w.Write(s.piece[:n])
		}
		if err != nil {
			return nil, err
		}
	}
	if n, _ := io.ReadFull(from, s.piece[:1]); n > 0 {
		return api.Errorf(api.KindConflict, "cannot read %s: it became longer meanwhile", quote(c.Path)), nil
	}
	return nil, nil
}

func unread(name string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return api.Errorf(api.KindConflict, "cannot read %s: it became shorter meanwhile", quote(name))
	}
	return api.Errorf(filecopy.KindOf(err), "cannot read %s: %w", quote(name), err)
}

// appendChange appends a change, but for the content of a file.
func appendChange(b []byte, c Change) []byte {
	b = appendText(b, c.Path)
	b = append(b, kindOf[c.Expect.Type])
	if c.Expect.Type != "" {
		b = new(deltas).appendTo(b, c.Expect)
	}
	if c.Expect.Type == Link {
		b = appendText(b, c.Expect.Link)
	}
	b = append(b, kindOf[c.Type])
	switch c.Type {
	case File:
		b = binary.AppendUvarint(b, uint64(c.Mode))
		b = binary.AppendUvarint(b, uint64(c.Size))
	case Link:
		b = appendText(b, c.Link)
	}
	return b
}
