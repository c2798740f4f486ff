package filecopy

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync/atomic"
	"syscall"
)

// Progress is the progress of a copy. Holes of files do not count as bytes. The totals
// are zero until they are known.
type Progress struct {
	Files, Bytes           int64
	TotalFiles, TotalBytes int64
}

// Source is what is sent: a file, or a directory with everything below it.
type Source struct {
	// Root, unless nil, is the directory that File is below. No symbolic link is followed
	// out of it, and extended attributes are left out.
	Root *os.Root
	File string
	// Above are directories that are sent before, by their full names.
	Above []Entry
	// Change, unless nil, changes an entry before it is sent.
	Change func(*Entry)
}

func (s Source) origin() origin {
	if s.Root != nil {
		return below{s.Root}
	}
	return everywhere{}
}

// Measure counts the files of a source, and the bytes of their contents without holes. It
// ends with an error as soon as check returns one.
func (s Source) Measure(check func(Progress) error) error {
	var sum Progress
	w := &walk{from: s.origin(), visit: func(_ string, e Entry) error {
		sum.Files++
		if e.Type == File {
			sum.Bytes += e.Stored
		}
		return check(sum)
	}}
	return w.do(s.File, true)
}

// Send is the source's end: it sends file under the name that the receiver expects. If
// files could not be read, it returns an error after all others are sent.
func Send(ctx context.Context, r io.Reader, w io.Writer, file, name string, report func(Progress)) error {
	return SendFrom(ctx, r, w, Source{File: file}, name, report)
}

// SendFrom is Send from any source.
func SendFrom(ctx context.Context, r io.Reader, w io.Writer, from Source, name string, report func(Progress)) error {
	ctx, stop := context.WithCancel(ctx)
	s := &sender{wire: newWire(r, w), change: from.Change, report: report, buf: make([]byte, maxFrameData)}
	counted := make(chan struct{})
	go func() {
		defer close(counted)
		s.count(ctx, from)
	}()
	defer func() { stop(); <-counted }()
	s.walk = &walk{from: from.origin(), name: name, warn: s.warn, visit: s.entry}
	err := s.above(from.Above)
	if err == nil {
		err = s.walk.do(from.File, false)
	}
	if err == nil {
		err = s.batch()
	}
	if err == nil {
		err = errors.Join(s.send(kindEnd, nil), s.flush())
	}
	if err == nil && s.walk.denied > 0 {
		err = s.walk.unread()
	}
	return err
}

type sender struct {
	*wire
	walk   *walk
	change func(*Entry)
	report func(Progress)
	buf    []byte

	entries []sending // the batch
	size    int

	done       Progress
	totals     atomic.Pointer[totals]
	totalsSent bool
}

type sending struct {
	file  string
	entry Entry
	want  want
}

// count computes the totals, in parallel to the copy.
func (s *sender) count(ctx context.Context, from Source) {
	var sum totals
	w := &walk{from: from.origin(), visit: func(_ string, e Entry) error {
		if e.Type == File {
			sum.Files++
			sum.Bytes += e.Stored
		}
		return ctx.Err()
	}}
	if w.do(from.File, true) == nil {
		s.totals.Store(&sum)
	}
}

func (s *sender) warn(file, what string) {
	// A failure to write occurs again at the next frame.
	_ = s.send(kindNote, note{[]byte(file), what})
}

// above sends directories that are not of the source.
func (s *sender) above(dirs []Entry) error {
	for _, e := range dirs {
		if err := s.add("", e); err != nil {
			return err
		}
	}
	return nil
}

func (s *sender) entry(file string, e Entry) error {
	if s.change != nil {
		s.change(&e)
	}
	return s.add(file, e)
}

func (s *sender) add(file string, e Entry) error {
	s.entries = append(s.entries, sending{file: file, entry: e})
	s.size += 200 + e.size()
	if err := s.send(kindEntry, toWire(e)); err != nil {
		return err
	}
	if len(s.entries) < batchEntries && s.size < batchBytes {
		return nil
	}
	return s.batch()
}

// batch ends a batch and sends what the receiver wants of it.
func (s *sender) batch() error {
	if len(s.entries) == 0 {
		return nil
	}
	if err := s.agree(); err != nil {
		return err
	}
	for i := range s.entries {
		if s.entries[i].entry.Type != File {
			continue
		}
		if err := s.file(i); err != nil {
			return err
		}
	}
	s.entries, s.size = s.entries[:0], 0
	return s.flush()
}

// agree finds out from which offset the receiver wants the files of the batch.
func (s *sender) agree() error {
	err := errors.Join(s.send(kindBatch, nil), s.flush())
	if err != nil {
		return err
	}
	var there []have
	if err := s.expect(kindHave, &there); err != nil || len(there) == 0 {
		return err
	}
	if len(there) > len(s.entries) {
		return badCopy("it has %d files of %d", len(there), len(s.entries))
	}
	proofs := make([][]byte, len(there))
	for i, h := range there {
		if !s.valid(h.Index) || h.Bytes < 0 {
			return badCopy("it has %d bytes of file %d", h.Bytes, h.Index)
		}
		proofs[i] = s.proof(s.entries[h.Index].file, h.Bytes)
	}
	if err := errors.Join(s.send(kindProofs, proofs), s.flush()); err != nil {
		return err
	}
	var wants []want
	if err := s.expect(kindWants, &wants); err != nil {
		return err
	}
	for _, want := range wants {
		if !s.valid(want.Index) || want.From < 0 {
			return badCopy("it wants file %d from %d", want.Index, want.From)
		}
		s.entries[want.Index].want = want
	}
	return nil
}

func (s *sender) valid(i int) bool {
	return i >= 0 && i < len(s.entries) && s.entries[i].entry.Type == File
}

// proof returns the checksum of the beginning of a file, or none if it cannot be read.
func (s *sender) proof(file string, n int64) []byte {
	f, st, err := openSource(s.walk.from, file)
	if err != nil {
		return nil
	}
	defer f.Close()
	if st.Size < n {
		return nil
	}
	sum, err := prefixSum(f, n)
	if err != nil {
		return nil
	}
	return sum
}

// file sends the content of one file of the batch.
func (s *sender) file(i int) error {
	sending := s.entries[i]
	base := s.done.Bytes
	var err error
	if !sending.want.Whole {
		err = s.content(i, sending)
	}
	if err != nil {
		return err
	}
	s.done.Files++
	s.done.Bytes = base + sending.entry.Stored
	return s.progress()
}

func (s *sender) content(i int, sending sending) error {
	f, st, err := openSource(s.walk.from, sending.file)
	if err != nil {
		return s.lost(i, sending, err)
	}
	defer f.Close()
	from := sending.want.From
	if from > st.Size {
		from = 0 // it became shorter: send it from the beginning
	}
	err = s.send(kindOpen, opening{i, from, st.Size, st.Mtim.Sec, st.Mtim.Nsec})
	if err != nil {
		return err
	}
	if err := s.data(f, st, from, sending.entry.Stored); err != nil {
		if errors.Is(err, errShorter) {
			return s.lost(i, sending, err)
		}
		return err
	}
	if changed(f, st) {
		s.warn(sending.file, "changed while it was read: the copy may be inconsistent")
	}
	return s.send(kindClose, nil)
}

func (s *sender) data(f *os.File, st *syscall.Stat_t, from, stored int64) error {
	base := s.done.Bytes
	return eachPart(f, from, st.Size, s.buf, func(offset int64, data []byte) error {
		var at [8]byte
		binary.BigEndian.PutUint64(at[:], uint64(offset))
		if err := s.frame(kindData, at[:], data); err != nil {
			return err
		}
		s.done.Bytes = base + min(stored, offset+int64(len(data)))
		return s.progress()
	})
}

// lost reports that the content of a file will not be sent. Files that were removed are
// left out silently.
func (s *sender) lost(i int, sending sending, cause error) error {
	switch {
	case sending.file == s.walk.root:
		return named(sending.file, cause)
	case errors.Is(cause, fs.ErrNotExist):
	case errors.Is(cause, fs.ErrPermission):
		s.walk.deny(sending.file)
	default:
		s.walk.denied++
		s.warn(sending.file, fmt.Sprintf("is not copied: %v", cause))
	}
	return s.send(kindLost, want{Index: i})
}

func (s *sender) progress() error {
	if t := s.totals.Load(); t != nil && !s.totalsSent {
		s.totalsSent = true
		s.done.TotalFiles, s.done.TotalBytes = t.Files, t.Bytes
		if err := s.send(kindTotals, t); err != nil {
			return err
		}
	}
	if s.report != nil {
		s.report(s.done)
	}
	return nil
}
