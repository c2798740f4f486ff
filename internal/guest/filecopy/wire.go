package filecopy

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"banger/api"
)

// The two ends of a copy exchange frames: a type, a 4-byte length, and a payload. The
// source sends entries in batches. After each the receiver reports which files it has
// partly; the source sends the checksums of the same bytes of its own (the receiver
// does not send its checksums: it may not trust the source), and the receiver requests
// each file from an offset. Then the contents follow.
//
//	source:   entry… batch | proofs      | (open data… close)… | … end
//	receiver:        have  |       wants |
const (
	frameHeader  = 5
	maxFrameData = 64 << 10
	maxFrame     = 1 << 20
	// A batch ends when it has that many entries, or bytes of entries.
	batchEntries = 512
	batchBytes   = 256 << 10
)

type frameKind byte

const (
	kindEntry  frameKind = 'e' // a wireEntry
	kindBatch  frameKind = 'b'
	kindHave   frameKind = 'h' // receiver: []have
	kindProofs frameKind = 'p' // [][]byte, one for each have
	kindWants  frameKind = 'w' // receiver: []want, for files that it has partly
	kindOpen   frameKind = 'o' // an opening: the content of a file follows
	kindData   frameKind = 'd' // 8-byte offset, then bytes
	kindClose  frameKind = 'c'
	kindLost   frameKind = 'x' // a note: the file's content is not sent
	kindNote   frameKind = 'n' // a note: a file was skipped
	kindTotals frameKind = 't' // totals
	kindEnd    frameKind = 'z'
)

// wireEntry is an Entry; names are bytes that need not be UTF-8.
type wireEntry struct {
	Type   Type              `json:"type"`
	Name   []byte            `json:"name"`
	Mode   uint32            `json:"mode,omitempty"`
	UID    int               `json:"uid,omitempty"`
	GID    int               `json:"gid,omitempty"`
	Sec    int64             `json:"sec,omitempty"`
	Nsec   int64             `json:"nsec,omitempty"`
	Size   int64             `json:"size,omitempty"`
	Stored int64             `json:"stored,omitempty"`
	Target []byte            `json:"target,omitempty"`
	Linked bool              `json:"linked,omitempty"`
	Xattrs map[string][]byte `json:"xattrs,omitempty"`
}

// have tells how much of a file of the batch the receiver has.
type have struct {
	Index int   `json:"index"`
	Bytes int64 `json:"bytes"`
}

// want tells from which offset the receiver wants a file.
type want struct {
	Index int   `json:"index"`
	From  int64 `json:"from"`
	Whole bool  `json:"whole,omitempty"` // it has all of it
}

type opening struct {
	Index int   `json:"index"`
	From  int64 `json:"from"`
	Size  int64 `json:"size"`
	Sec   int64 `json:"sec"`
	Nsec  int64 `json:"nsec"`
}

type note struct {
	Name []byte `json:"name"`
	What string `json:"what"`
}

type totals struct {
	Files int64 `json:"files"`
	Bytes int64 `json:"bytes"`
}

func toWire(e Entry) wireEntry {
	w := wireEntry{
		Type: e.Type, Name: []byte(e.Name), Mode: e.Mode, UID: e.UID, GID: e.GID,
		Sec: e.MTime.Unix(), Nsec: int64(e.MTime.Nanosecond()),
		Size: e.Size, Stored: e.Stored, Target: []byte(e.Target), Linked: e.Linked,
	}
	if len(e.Xattrs) > 0 {
		w.Xattrs = map[string][]byte{}
		for name, value := range e.Xattrs {
			w.Xattrs[name] = []byte(value)
		}
	}
	return w
}

func fromWire(w wireEntry) (Entry, error) {
	e := Entry{
		Type: w.Type, Name: string(w.Name), Mode: w.Mode, UID: w.UID, GID: w.GID, MTime: time.Unix(w.Sec, w.Nsec),
		Size: w.Size, Stored: w.Stored, Target: string(w.Target), Linked: w.Linked,
	}
	if len(w.Xattrs) > 0 {
		e.Xattrs = map[string]string{}
		for name, value := range w.Xattrs {
			e.Xattrs[name] = string(value)
		}
	}
	switch {
	case e.Type != File && e.Type != Dir && e.Type != Symlink && e.Type != Link:
		return e, refuse(e.Name, "its type is not supported: %q", string(e.Type))
	case e.Size < 0 || e.Stored < 0 || w.Nsec < 0 || w.Nsec >= 1e9 || w.UID < 0 || w.GID < 0:
		return e, refuse(e.Name, "one of its numbers is invalid")
	case xattrBytes(e.Xattrs) > maxXattrs:
		return e, refuse(e.Name, "it has more than %d bytes of extended attributes", maxXattrs)
	}
	return e, checkName(e.Name)
}

// wire is one end of the connection.
type wire struct {
	r   *bufio.Reader
	w   *bufio.Writer
	buf []byte
}

func newWire(r io.Reader, w io.Writer) *wire {
	return &wire{r: bufio.NewReaderSize(r, maxFrameData), w: bufio.NewWriterSize(w, maxFrameData+frameHeader+8)}
}

func (c *wire) frame(kind frameKind, parts ...[]byte) error {
	length := 0
	for _, p := range parts {
		length += len(p)
	}
	if length > maxFrame {
		return fmt.Errorf("a message of %d bytes is too long to copy", length)
	}
	head := [frameHeader]byte{byte(kind)}
	binary.BigEndian.PutUint32(head[1:], uint32(length))
	_, err := c.w.Write(head[:])
	for _, p := range parts {
		if err == nil {
			_, err = c.w.Write(p)
		}
	}
	return err
}

func (c *wire) send(kind frameKind, v any) error {
	if v == nil {
		return c.frame(kind)
	}
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return c.frame(kind, body)
}

func (c *wire) flush() error { return c.w.Flush() }

// next reads a frame; its payload is valid until the next one.
func (c *wire) next() (frameKind, []byte, error) {
	var head [frameHeader]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return 0, nil, cutShort(err)
	}
	kind, length := frameKind(head[0]), int(binary.BigEndian.Uint32(head[1:]))
	limit := maxFrame
	if kind == kindData {
		limit = maxFrameData + 8
	}
	if length > limit {
		return 0, nil, badCopy("a message of type %q has %d bytes", kind, length)
	}
	if length > len(c.buf) {
		c.buf = make([]byte, length)
	}
	if _, err := io.ReadFull(c.r, c.buf[:length]); err != nil {
		return 0, nil, cutShort(err)
	}
	return kind, c.buf[:length], nil
}

// expect reads a frame of one kind.
func (c *wire) expect(kind frameKind, v any) error {
	got, body, err := c.next()
	switch {
	case err != nil:
		return err
	case got != kind:
		return badCopy("got a message of type %q instead of %q", got, kind)
	}
	return parse(kind, body, v)
}

func parse(kind frameKind, body []byte, v any) error {
	if err := json.Unmarshal(body, v); err != nil {
		return badCopy("a message of type %q is damaged: %w", kind, err)
	}
	return nil
}

func badCopy(format string, args ...any) error {
	return api.Errorf(api.KindInternal, "the other end violates the protocol: %w", fmt.Errorf(format, args...))
}

func cutShort(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
