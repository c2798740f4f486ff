package manifest

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// The request is a list of changes. The answer has one part for each of them, in the same order.
//
//	change:   path expected new
//	expected: 0, or kind attributes [target]
//	new:      0, or file mode size (length, bytes)… 0 ending, or link target
//
//	refused: errno
//	other:   nothing: the path is not what was expected
//	unmade:  nothing: the ending of the content was not that of a whole one
//	made:    attributes, unless it was removed
const (
	answerMade   = 1 // beside answerRefused
	answerOther  = 2
	answerUnmade = 3
)

// Place reads changes of what is below the directory dir from r, for Changes, and makes one after
// the other. No change is half made at any moment, and what was answered survives a crash.
func Place(ctx context.Context, r io.Reader, w io.Writer, dir string) error {
	top, err := openRoot(dir)
	if err != nil {
		return err
	}
	defer top.Close()
	p := &placer{root: top, in: newInput(r, math.MaxInt64, ErrCut), w: bufio.NewWriterSize(w, 32<<10), cleaned: map[string]bool{}}
	defer p.drop()
	for ctx.Err() == nil {
		if p.in.r.Buffered() == 0 || len(p.batch) >= batchSize { // the next change may come late
			if err := p.commit(); err != nil {
				return err
			}
		}
		if _, err := p.in.r.Peek(1); errors.Is(err, io.EOF) {
			return p.commit()
		}
		c, err := p.in.change()
		if err != nil {
			return err
		}
		result, err := p.make(c)
		p.batch = append(p.batch, result)
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

type placer struct {
	root    root
	in      *input
	w       *bufio.Writer
	buf     []byte
	piece   []byte
	cleaned map[string]bool // directories without leftovers of an earlier agent
	batch   []result
}

// batchSize is how many changes are made durable together: each waits for the disk, all of them
// for not much longer. Each holds two open files.
const batchSize = 128

// result is a change that was made, or why it was not.
type result struct {
	err   error    // errOther, errUnmade or an errno
	entry Entry    // the zero value if the path was removed
	file  *os.File // what was placed
	dir   *os.File // in which the change is
	disk  uint64   // its st_dev
}

var (
	// errOther is of a path that is not what was expected.
	errOther = errors.New("it is not what was expected")
	// errUnmade is of a change whose content did not come whole.
	errUnmade = errors.New("its content is not whole")
)

// commit makes the batch durable, and answers it. A host that has the answer takes the change for
// made: if it were lost in a crash, the file from before would look like a newer one.
func (p *placer) commit() error {
	p.sync()
	for _, r := range p.batch {
		if err := p.answer(r); err != nil {
			return err
		}
	}
	p.drop()
	return p.w.Flush()
}

// drop closes the files of the batch.
func (p *placer) drop() {
	for _, r := range p.batch {
		r.file.Close()
		r.dir.Close()
	}
	p.batch = p.batch[:0]
}

// fewChanges is how many changes are made durable one by one: each fsync(2) flushes the disk, also if
// its journal is written already. To sync the file system takes one flush for all of them, but waits
// for what other programs have written, too.
const fewChanges = 2

// sync waits until the batch is on the disk.
func (p *placer) sync() {
	if len(p.batch) <= fewChanges {
		for i := range p.batch {
			p.batch[i].sync()
		}
		return
	}
	synced := map[uint64]error{}
	for i := range p.batch {
		r := &p.batch[i]
		if r.err != nil {
			continue
		}
		if _, ok := synced[r.disk]; !ok {
			synced[r.disk] = ignoringInterrupts(func() error { return unix.Syncfs(int(r.dir.Fd())) })
		}
		r.err = synced[r.disk]
	}
}

// sync waits until the change is on the disk.
func (r *result) sync() {
	if r.err == nil && r.entry.Type == File {
		r.err = ignoringInterrupts(func() error { return unix.Fdatasync(int(r.file.Fd())) })
	}
	if r.err == nil {
		r.err = ignoringInterrupts(func() error { return unix.Fsync(int(r.dir.Fd())) })
	}
	if errors.Is(r.err, unix.EINVAL) { // the file system has no such thing (fsync(2))
		r.err = nil
	}
}

func ignoringInterrupts(do func() error) error {
	for {
		if err := do(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// answer writes what became of a change.
func (p *placer) answer(r result) error {
	b := p.buf[:0]
	switch {
	case errors.Is(r.err, errOther):
		b = append(b, answerOther)
	case errors.Is(r.err, errUnmade):
		b = append(b, answerUnmade)
	case r.err != nil:
		errno := unix.EIO
		errors.As(r.err, &errno)
		b = binary.AppendUvarint(append(b, answerRefused), uint64(errno))
	case r.entry.Type == "":
		b = append(b, answerMade)
	default:
		b = new(deltas).appendTo(append(b, answerMade), r.entry)
	}
	p.buf = b
	_, err := p.w.Write(b)
	return err
}

// change reads a change, but for the content of a file.
func (in *input) change() (c Change, err error) {
	if c.Path, err = in.text(); err != nil {
		return c, err
	}
	if c.Expect.Type, err = in.kind(); err != nil {
		return c, err
	}
	if c.Expect.Type != "" {
		if err := new(deltas).read(in, &c.Expect); err != nil {
			return c, err
		}
	}
	if c.Expect.Type == Link {
		if c.Expect.Link, err = in.text(); err != nil {
			return c, err
		}
	}
	if c.Type, err = in.kind(); err != nil {
		return c, err
	}
	switch c.Type {
	case File:
		c.Open = func() (io.ReadCloser, error) { return nil, os.ErrInvalid } // it follows
		err = in.attributes(&c)
	case Link:
		c.Link, err = in.text()
	}
	if err == nil {
		err = c.check()
	}
	return c, err
}

// kind reads a type, or 0 for none.
func (in *input) kind() (string, error) {
	b, err := in.ReadByte()
	if err != nil || b == kindEnd {
		return "", err
	}
	for name, kind := range kindOf {
		if kind == b {
			return name, nil
		}
	}
	return "", violation("a type is %d", b)
}

func (in *input) attributes(c *Change) error {
	mode, err := in.number(0o7777)
	if err != nil {
		return err
	}
	size, err := in.number(math.MaxInt64)
	c.Mode, c.Size = uint32(mode), int64(size)
	return err
}

// contentOf reads the content of a file, and writes it to w until that fails: it has to be read in any
// case. The first error is that of w, or errUnmade.
func (p *placer) contentOf(c Change, w func([]byte) error) (failed, err error) {
	if p.piece == nil {
		p.piece = make([]byte, pieceSize)
	}
	for left := c.Size; ; {
		n, err := p.in.number(uint64(left))
		if err != nil {
			return nil, err
		}
		left -= int64(n)
		if n == 0 {
			ending, err := p.in.ReadByte()
			if failed == nil && (ending != endingWhole || left > 0) {
				failed = errUnmade
			}
			return failed, err
		}
		for n > 0 {
			some, err := p.in.Read(p.piece[:min(n, pieceSize)])
			if err != nil {
				return nil, err
			}
			n -= uint64(some)
			if failed == nil {
				failed = w(p.piece[:some])
			}
		}
	}
}
