package stdio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"banger/internal/guest/chunk"
)

// In is the reading end of a stream.
type In struct {
	mux *Mux
	id  byte

	mu         sync.Mutex
	changed    *sync.Cond
	buf        bytes.Buffer
	err        error
	uncredited int // read since the last credit
	open       int // credit that the other end has
	idle       *time.Timer
	armed      bool // idle is running
}

// idleAfter is how long credit is delayed, to be batched, if everything is read. It frees
// no memory here: it tells the other end how far the reader is.
const idleAfter = 20 * time.Millisecond

// smallBuffer is the size, in bytes, of the buffer that an empty stream keeps.
const smallBuffer = 4 << 10

func newIn(m *Mux, id int) *In {
	in := &In{mux: m, id: byte(id), open: window}
	in.changed = sync.NewCond(&in.mu)
	return in
}

func (in *In) push(p []byte) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(p) > in.open {
		return fmt.Errorf("stream %d overruns its window", in.id)
	}
	in.open -= len(p)
	if in.err == nil {
		in.buf.Write(p)
		in.changed.Broadcast()
	}
	return nil
}

func (in *In) end(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.err == nil {
		in.err = err
	}
	if in.idle != nil {
		in.idle.Stop()
	}
	in.changed.Broadcast()
}

// settle grants the credit for everything that was read.
func (in *In) settle() {
	in.mu.Lock()
	in.armed = false
	credit := 0
	if in.err == nil {
		credit, in.uncredited = in.uncredited, 0
		in.open += credit
	}
	in.mu.Unlock()
	in.credit(credit)
}

func (in *In) credit(n int) {
	if n > 0 {
		_ = in.mux.send(kindCredit, []byte{in.id}, binary.BigEndian.AppendUint32(nil, uint32(n)))
	}
}

// Read reads what the other end wrote.
func (in *In) Read(p []byte) (int, error) {
	n, err := in.take(p)
	in.taken(n)
	return n, err
}

// WriteTo copies what the other end wrote to w, to its end. Bytes that w has not accepted
// do not count as read: a client whose terminal is blocked does not have them.
func (in *In) WriteTo(w io.Writer) (int64, error) {
	for written := int64(0); ; {
		wrote, err := in.writeSome(w)
		written += int64(wrote)
		if errors.Is(err, io.EOF) {
			return written, nil
		}
		if err != nil {
			return written, err
		}
	}
}

// writeSome waits for bytes, and allocates a buffer only then.
func (in *In) writeSome(w io.Writer) (int, error) {
	there, err := in.wait()
	if err != nil {
		return 0, err
	}
	buf := chunk.Get(min(there, maxData))
	defer chunk.Put(buf)
	n, err := in.take(buf)
	if err != nil {
		return 0, err
	}
	wrote, err := w.Write(buf[:n])
	in.taken(n) // if that failed nobody will ever read it
	return wrote, err
}

// wait waits for bytes and returns how many there are.
func (in *In) wait() (int, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for in.buf.Len() == 0 && in.err == nil {
		in.changed.Wait()
	}
	if in.buf.Len() == 0 {
		return 0, in.err
	}
	return in.buf.Len(), nil
}

// take waits for bytes and moves them to p.
func (in *In) take(p []byte) (int, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for in.buf.Len() == 0 && in.err == nil {
		in.changed.Wait()
	}
	if in.buf.Len() == 0 {
		return 0, in.err
	}
	n, _ := in.buf.Read(p)
	if in.buf.Len() == 0 && in.buf.Cap() > smallBuffer {
		in.buf = bytes.Buffer{}
	}
	return n, nil
}

// taken grants credit for n more bytes, possibly with a short delay.
func (in *In) taken(n int) {
	in.mu.Lock()
	in.uncredited += n
	credit := 0
	if in.uncredited >= window/4 && in.err == nil {
		credit, in.uncredited = in.uncredited, 0
		in.open += credit
	}
	if in.uncredited > 0 && in.buf.Len() == 0 && in.err == nil && !in.armed {
		in.armed = true
		if in.idle == nil {
			in.idle = time.AfterFunc(idleAfter, in.settle)
		} else {
			in.idle.Reset(idleAfter)
		}
	}
	in.mu.Unlock()
	in.credit(credit)
}

// Close ends reading.
func (in *In) Close() error {
	in.end(io.ErrClosedPipe)
	return nil
}

// Out is the writing end of a stream.
type Out struct {
	mux *Mux
	id  byte

	mu      sync.Mutex
	changed *sync.Cond
	window  int // credit when the other end has read everything
	credit  int
	err     error
	closed  bool
	kept    bool
	tail    []byte // sent, and not known to be read; only after Keep
}

func newOut(m *Mux, id int) *Out {
	out := &Out{mux: m, id: byte(id), window: window, credit: window}
	out.changed = sync.NewCond(&out.mu)
	return out
}

func (out *Out) grant(n uint32) error {
	out.mu.Lock()
	defer out.mu.Unlock()
	if n > window || out.credit+int(n) > out.window {
		return fmt.Errorf("stream %d is granted more than its window", out.id)
	}
	out.credit += int(n)
	if out.kept {
		out.tail = out.tail[min(int(n), len(out.tail)):]
		if len(out.tail) == 0 {
			out.tail = nil
		}
	}
	out.changed.Broadcast()
	return nil
}

func (out *Out) fail(err error) {
	out.mu.Lock()
	defer out.mu.Unlock()
	if out.err == nil {
		out.err = err
	}
	out.changed.Broadcast()
}

// Narrow makes the window that of a forwarded connection. It is called before anything is
// written.
func (out *Out) Narrow() {
	out.mu.Lock()
	defer out.mu.Unlock()
	out.window, out.credit = connectionWindow, connectionWindow
}

// Keep makes Unread possible. It is called before anything is written.
func (out *Out) Keep() { out.kept = true }

// Unread returns what was written and is not known to be read at the other end.
func (out *Out) Unread() []byte {
	out.mu.Lock()
	defer out.mu.Unlock()
	return bytes.Clone(out.tail)
}

// Settle waits until the other end has read everything, for d at most.
func (out *Out) Settle(d time.Duration) {
	late := false
	timer := time.AfterFunc(d, func() {
		out.mu.Lock()
		defer out.mu.Unlock()
		late = true
		out.changed.Broadcast()
	})
	defer timer.Stop()
	out.settle(&late)
}

// settle waits until the other end has read everything, never will, or it is late.
func (out *Out) settle(late *bool) {
	out.mu.Lock()
	defer out.mu.Unlock()
	for out.credit < out.window && out.err == nil && !*late {
		out.changed.Wait()
	}
}

// Abort ends writes that wait for the other end to read.
func (out *Out) Abort() { out.fail(io.ErrClosedPipe) }

// reserve waits for room for some of p and returns how many bytes may be sent.
func (out *Out) reserve(p []byte) (int, error) {
	out.mu.Lock()
	defer out.mu.Unlock()
	for out.credit == 0 && out.err == nil && !out.closed {
		out.changed.Wait()
	}
	if out.closed {
		return 0, io.ErrClosedPipe
	}
	if out.err != nil {
		return 0, out.err
	}
	n := min(len(p), out.credit, maxData)
	out.credit -= n
	if out.kept {
		out.tail = append(out.tail, p[:n]...)
	}
	return n, nil
}

// unsent returns the credit of n bytes that could not be sent.
func (out *Out) unsent(n int) {
	out.mu.Lock()
	defer out.mu.Unlock()
	if out.kept {
		out.tail = out.tail[:max(0, len(out.tail)-n)]
	}
}

// Abandon ends writing without an end of the stream: the other end does not mistake what
// it has received for everything.
func (out *Out) Abandon() { out.fail(io.ErrClosedPipe) }

// Write returns when everything is sent to the pipe.
func (out *Out) Write(p []byte) (int, error) {
	for written := 0; written < len(p); {
		n, err := out.reserve(p[written:])
		if err != nil {
			return written, err
		}
		if err := out.mux.send(kindData, []byte{out.id}, p[written:written+n]); err != nil {
			out.unsent(n)
			return written, err
		}
		written += n
	}
	return len(p), nil
}

// Close sends the end of the stream.
func (out *Out) Close() error {
	out.mu.Lock()
	closed := out.closed || out.err != nil
	out.closed = true
	out.changed.Broadcast()
	out.mu.Unlock()
	if closed {
		return nil
	}
	return out.mux.send(kindEOF, []byte{out.id})
}

// Finish is Close, but first waits until the other end has read everything: after the end
// of a stream the other end grants no more credit.
func (out *Out) Finish() error {
	out.settle(new(bool))
	return out.Close()
}
