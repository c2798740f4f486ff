package filecopy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Receive is the other end of Send: it creates the received entries below the directory
// dir. Every entry has to be called name or be below it, unless name is ".".
func Receive(r io.Reader, w io.Writer, dir, name string, o Options, report func(Progress)) error {
	t, err := openTarget(dir, o)
	if err != nil {
		return err
	}
	defer t.close()
	rc := &receiver{wire: newWire(r, w), t: t, name: name, report: report}
	if err := rc.run(); err != nil {
		return errors.Join(err, rc.abandon())
	}
	return t.finish()
}

type receiver struct {
	*wire
	t      *target
	name   string
	report func(Progress)
	any    bool // an entry was received

	entries []arriving // the batch
	size    int

	file  *incoming // whose content is being received
	index int
	pos   int64 // its end so far
	done  Progress
}

type arriving struct {
	entry Entry
	want  want
	came  bool // or will not be received
}

func (rc *receiver) run() error {
	for {
		kind, body, err := rc.next()
		if err != nil {
			return err
		}
		if kind == kindEnd {
			if rc.file != nil || len(rc.entries) > 0 {
				return badCopy("it ends too early")
			}
			return nil
		}
		if err := rc.handle(kind, body); err != nil {
			return err
		}
	}
}

func (rc *receiver) handle(kind frameKind, body []byte) error {
	switch kind {
	case kindEntry:
		var w wireEntry
		if err := parse(kind, body, &w); err != nil {
			return err
		}
		return rc.entry(w, len(body))
	case kindBatch:
		return rc.batch()
	case kindOpen:
		var o opening
		if err := parse(kind, body, &o); err != nil {
			return err
		}
		return rc.open(o)
	case kindData:
		return rc.data(body)
	case kindClose:
		return rc.closeFile()
	case kindLost:
		var w want
		if err := parse(kind, body, &w); err != nil {
			return err
		}
		return rc.lost(w.Index)
	case kindNote:
		var n note
		if err := parse(kind, body, &n); err != nil {
			return err
		}
		rc.t.warn(string(n.Name), n.What)
		return nil
	case kindTotals:
		var sum totals
		if err := parse(kind, body, &sum); err != nil {
			return err
		}
		rc.done.TotalFiles, rc.done.TotalBytes = max(0, sum.Files), max(0, sum.Bytes)
		return nil
	}
	return badCopy("a message of type %q", kind)
}

// entry handles an entry: directories and symbolic links are created at once.
func (rc *receiver) entry(w wireEntry, size int) error {
	e, err := fromWire(w)
	if err != nil {
		return err
	}
	if rc.name != "." && e.Name != rc.name && !strings.HasPrefix(e.Name, rc.name+"/") {
		return refuse(e.Name, "only %s was requested", Quote(rc.name))
	}
	if !rc.any && e.Type != File && e.Type != Dir {
		return refuse(e.Name, "the copied file itself must not be a link")
	}
	rc.any = true
	if rc.size += size; len(rc.entries) >= batchEntries || rc.size > maxFrame+batchBytes {
		return badCopy("a batch is too long")
	}
	rc.entries = append(rc.entries, arriving{entry: e})
	switch e.Type {
	case Dir:
		return rc.t.dir(e)
	case Symlink:
		return rc.t.symlink(e)
	}
	return nil
}

// batch reports which of the batch's files exist already.
func (rc *receiver) batch() error {
	there, sums := []have{}, map[int][]byte{}
	for i := range rc.entries {
		a := &rc.entries[i]
		if a.entry.Type != File {
			continue
		}
		n, whole, sum := rc.t.existing(a.entry)
		if n > 0 {
			a.want = want{Index: i, From: n, Whole: whole}
			there, sums[i] = append(there, have{i, n}), sum
		}
	}
	if err := errors.Join(rc.send(kindHave, there), rc.flush()); err != nil {
		return err
	}
	if len(there) > 0 {
		if err := rc.compare(there, sums); err != nil {
			return err
		}
	}
	return rc.advance()
}

// compare keeps the existing parts that the source has, too.
func (rc *receiver) compare(there []have, sums map[int][]byte) error {
	var proofs [][]byte
	if err := rc.expect(kindProofs, &proofs); err != nil {
		return err
	}
	if len(proofs) != len(there) {
		return badCopy("%d proofs were sent for %d files", len(proofs), len(there))
	}
	wants := make([]want, len(there))
	for i, h := range there {
		a := &rc.entries[h.Index]
		if !bytes.Equal(proofs[i], sums[h.Index]) {
			a.want = want{Index: h.Index}
		}
		wants[i] = a.want
		if a.want.Whole {
			if err := rc.t.refresh(a.entry); err != nil {
				return err
			}
			a.came = true
			rc.arrived(a.entry)
		}
	}
	return errors.Join(rc.send(kindWants, wants), rc.flush())
}

// advance ends the batch when all its files are complete, and makes its links.
func (rc *receiver) advance() error {
	for _, a := range rc.entries {
		if a.entry.Type == File && !a.came {
			return nil
		}
	}
	for _, a := range rc.entries {
		if a.entry.Type == Link {
			if err := rc.t.link(a.entry); err != nil {
				return err
			}
		}
	}
	rc.entries, rc.size = rc.entries[:0], 0
	return nil
}

func (rc *receiver) awaited(i int) (*arriving, error) {
	if rc.file != nil || i < 0 || i >= len(rc.entries) || rc.entries[i].entry.Type != File || rc.entries[i].came {
		return nil, badCopy("unexpected content of file %d", i)
	}
	return &rc.entries[i], nil
}

func (rc *receiver) open(o opening) error {
	a, err := rc.awaited(o.Index)
	if err != nil {
		return err
	}
	if o.Size < 0 || o.Nsec < 0 || o.Nsec >= 1e9 || o.From != 0 && (o.From != a.want.From || a.want.Whole) || o.From > o.Size {
		return badCopy("%s is sent from %d to %d", Quote(a.entry.Name), o.From, o.Size)
	}
	a.entry.Size, a.entry.MTime = o.Size, time.Unix(o.Sec, o.Nsec)
	f, err := rc.t.create(a.entry, o.From > 0)
	if err != nil {
		return err
	}
	rc.file, rc.index, rc.pos = f, o.Index, o.From
	// Bytes after this offset are from an attempt with more content, or from something
	// else.
	return named(a.entry.Name, unix.Ftruncate(int(f.Fd()), o.From))
}

func (rc *receiver) data(body []byte) error {
	if rc.file == nil || len(body) < 9 {
		return badCopy("data without a file")
	}
	e, offset, data := rc.file.entry, int64(binary.BigEndian.Uint64(body)), body[8:]
	if offset < rc.pos || offset > e.Size-int64(len(data)) {
		return badCopy("%s has data at %d", Quote(e.Name), offset)
	}
	if _, err := rc.file.WriteAt(data, offset); err != nil {
		return err
	}
	rc.pos = offset + int64(len(data))
	if rc.report != nil {
		p := rc.done
		p.Bytes += min(e.Stored, rc.pos)
		rc.report(p)
	}
	return nil
}

func (rc *receiver) closeFile() error {
	if rc.file == nil {
		return badCopy("the end of a file without its start")
	}
	f := rc.file
	if err := unix.Ftruncate(int(f.Fd()), f.entry.Size); err != nil { // a hole at the end
		return named(f.entry.Name, err)
	}
	rc.file = nil
	if err := f.commit(); err != nil {
		return err
	}
	rc.entries[rc.index].came = true
	rc.arrived(f.entry)
	return rc.advance()
}

// lost gives up a file that will not be received, started or not.
func (rc *receiver) lost(i int) error {
	if rc.file != nil {
		if i != rc.index {
			return badCopy("file %d is lost in the middle of %d", i, rc.index)
		}
		if err := rc.abandon(); err != nil {
			return err
		}
	}
	a, err := rc.awaited(i)
	if err != nil {
		return err
	}
	a.came = true
	rc.done.Files++
	if err := rc.t.linkable(a.entry, false); err != nil {
		return err
	}
	return rc.advance()
}

func (rc *receiver) abandon() error {
	if rc.file == nil {
		return nil
	}
	f := rc.file
	rc.file = nil
	return f.abandon()
}

func (rc *receiver) arrived(e Entry) {
	rc.done.Files++
	rc.done.Bytes += e.Stored
	if rc.report != nil {
		rc.report(rc.done)
	}
}
