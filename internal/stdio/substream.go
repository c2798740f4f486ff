package stdio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"banger/internal/chunk"
)

// In is the reading end of a stream.
type In struct {
	mux *Mux
	id  byte

	mu      sync.Mutex
	changed *sync.Cond
	buf     bytes.Buffer
	err     error
	owed    int // read since the last credit
	open    int // credit that the other end has
	idle    *time.Timer
	armed   bool // idle is running
}

// idleAfter is how long credit waits for company where everything is read. It frees
// no memory here: the other end learns how far the reader is.
const idleAfter = 20 * time.Millisecond

// smallBuffer is what a stream that is read keeps, in bytes.
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

// settle gives the credit for all that was read.
func (in *In) settle() {
	in.mu.Lock()
	in.armed = false
	credit := 0
	if in.err == nil {
		credit, in.owed = in.owed, 0
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

// WriteTo copies what the other end wrote to w, to its end. What w has not taken yet is
// not read: a client whose terminal stands still does not have it.
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

// writeSome waits for something, and takes a buffer only then.
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
	in.taken(n) // if that failed nobody will ever take it
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

// take waits for bytes.
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

// taken gives credit for n bytes more, perhaps a little later.
func (in *In) taken(n int) {
	in.mu.Lock()
	in.owed += n
	credit := 0
	if in.owed >= window/4 && in.err == nil {
		credit, in.owed = in.owed, 0
		in.open += credit
	}
	if in.owed > 0 && in.buf.Len() == 0 && in.err == nil && !in.armed {
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
	tail    []byte // sent, and not known to be read: where kept
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

// unsent takes back n bytes that could not be sent.
func (out *Out) unsent(n int) {
	out.mu.Lock()
	defer out.mu.Unlock()
	if out.kept {
		out.tail = out.tail[:max(0, len(out.tail)-n)]
	}
}

// Abandon ends writing without a word to the other end, which then does not take
// what has come for everything there is.
func (out *Out) Abandon() { out.fail(io.ErrClosedPipe) }

// Write returns when everything is on its way.
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

// Close says that nothing more comes.
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

// Finish is Close, but waits until the other end has read everything: behind the end
// of a stream it does not say any more how far it is.
func (out *Out) Finish() error {
	out.settle(new(bool))
	return out.Close()
}
