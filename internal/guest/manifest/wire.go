package manifest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"golang.org/x/sys/unix"

	"banger/api"
)

// A list has no paths. It is the walk of the directory: each entry has a kind, its name and its
// attributes, and after a directory that was entered follow its entries and an end. The end of
// the directory itself is the end of the list. The names of a directory are in the order of
// their bytes, each once.
//
//	list:       entries end
//	entries:    (kind name attributes [target] [errno] [entries end])…
//	name:       length, bytes
//	attributes: mode, size, change of mtime, ctime - mtime, change of inode
//
// Numbers are varints (encoding/binary). The differences are to the entry before, which makes
// them short, and wrap around: every value is valid.
const (
	kindEnd   = 0
	kindFile  = 1
	kindDir   = 2
	kindLink  = 3
	kindOther = 4

	flagSkipped = 0x10 // a directory: its entries do not follow
	flagUnread  = 0x20 // a directory or Other: an errno follows, and no entries
)

var kindOf = map[string]byte{File: kindFile, Dir: kindDir, Link: kindLink, Other: kindOther}

// deltas are the attributes of the entry before.
type deltas struct {
	mtime int64
	inode uint64
}

// appendTo appends the attributes of e.
func (d *deltas) appendTo(b []byte, e Entry) []byte {
	b = binary.AppendUvarint(b, uint64(e.Mode))
	b = binary.AppendUvarint(b, uint64(e.Size))
	b = binary.AppendVarint(b, e.MTime-d.mtime)
	b = binary.AppendVarint(b, e.CTime-e.MTime)
	b = binary.AppendVarint(b, int64(e.Inode-d.inode))
	d.mtime, d.inode = e.MTime, e.Inode
	return b
}

// read reads attributes into e.
func (d *deltas) read(in *input, e *Entry) error {
	mode, err := in.number(0o7777)
	if err != nil {
		return err
	}
	size, err := in.number(math.MaxInt64)
	if err != nil {
		return err
	}
	var differences [3]int64
	for i := range differences {
		if differences[i], err = binary.ReadVarint(in); err != nil {
			return in.broken(err)
		}
	}
	d.mtime += differences[0]
	d.inode += uint64(differences[2])
	e.Mode, e.Size, e.MTime, e.CTime, e.Inode = uint32(mode), int64(size), d.mtime, d.mtime+differences[1], d.inode
	return nil
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// ErrCut means that the other end's stream ended, or failed, before it was complete.
var ErrCut = errors.New("the guest's agent sent only a part of it")

// input reads what the other end wrote, up to a number of bytes.
type input struct {
	r    *bufio.Reader
	left int64 // how many bytes may follow
	full error // what it means if more do
	buf  []byte
}

func newInput(r io.Reader, most int64, full error) *input {
	return &input{r: bufio.NewReaderSize(r, 32<<10), left: most, full: full}
}

// ReadByte reads one byte; numbers are read by it (io.ByteReader).
func (in *input) ReadByte() (byte, error) {
	if in.left <= 0 {
		return 0, in.full
	}
	b, err := in.r.ReadByte()
	if err != nil {
		return 0, cut(err)
	}
	in.left--
	return b, nil
}

// Read reads some bytes.
func (in *input) Read(p []byte) (int, error) {
	if in.left <= 0 {
		return 0, in.full
	}
	n, err := in.r.Read(p[:min(int64(len(p)), in.left)])
	in.left -= int64(n)
	if err != nil {
		err = cut(err)
	}
	return n, err
}

// number reads a number that is at most max.
func (in *input) number(most uint64) (uint64, error) {
	n, err := binary.ReadUvarint(in)
	if err != nil {
		return 0, in.broken(err)
	}
	if n > most {
		return 0, violation("a number is %d, which is more than %d", n, most)
	}
	return n, nil
}

// text reads some bytes after their length, which is from 1 to maxPath.
func (in *input) text() (string, error) {
	n, err := in.number(maxPath)
	if err != nil {
		return "", err
	}
	if n == 0 {
		return "", violation("a name is empty")
	}
	if in.buf == nil {
		in.buf = make([]byte, maxPath)
	}
	for got := 0; got < int(n); {
		some, err := in.Read(in.buf[got:n])
		if err != nil {
			return "", err
		}
		got += some
	}
	return string(in.buf[:n]), nil
}

// end reads the end of the stream.
func (in *input) end() error {
	_, err := in.r.ReadByte()
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return cut(err)
	}
	return violation("something follows the end")
}

// broken returns the error of a number that could not be read.
func (in *input) broken(err error) error {
	if errors.Is(err, ErrCut) || errors.Is(err, in.full) {
		return err
	}
	return violation("%w", err) // it has too many bits
}

func cut(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%w: %w", ErrCut, err)
}

func violation(format string, args ...any) error {
	return api.Errorf(api.KindInternal, "the guest's agent violates the protocol: %w", fmt.Errorf(format, args...))
}

// nanoseconds returns a time as Entry has it. A time that no int64 can hold, which a file system
// may have all the same, becomes the nearest that one can.
func nanoseconds(t unix.Timespec) int64 {
	const most = math.MaxInt64/1_000_000_000 - 1
	return max(-most, min(most, t.Sec))*1_000_000_000 + t.Nsec
}

// entryOf returns the entry of a path with these attributes.
func entryOf(name string, st *unix.Stat_t) Entry {
	e := Entry{
		Path: name, Type: Other, Mode: st.Mode & 0o7777, Size: max(0, st.Size),
		MTime: nanoseconds(st.Mtim), CTime: nanoseconds(st.Ctim), Inode: st.Ino,
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		e.Type = File
	case unix.S_IFDIR:
		e.Type = Dir
	case unix.S_IFLNK:
		e.Type = Link
	}
	return e
}
