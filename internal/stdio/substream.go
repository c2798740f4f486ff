package stdio

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
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
}

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
	in.changed.Broadcast()
}

// Read reads what the other end wrote.
func (in *In) Read(p []byte) (int, error) {
	in.mu.Lock()
	for in.buf.Len() == 0 && in.err == nil {
		in.changed.Wait()
	}
	if in.buf.Len() == 0 {
		err := in.err
		in.mu.Unlock()
		return 0, err
	}
	n, _ := in.buf.Read(p)
	if in.buf.Len() == 0 && in.buf.Cap() > maxData {
		in.buf = bytes.Buffer{}
	}
	in.owed += n
	credit := 0
	if in.owed >= window/4 && in.err == nil {
		credit, in.owed = in.owed, 0
		in.open += credit
	}
	in.mu.Unlock()
	if credit > 0 {
		_ = in.mux.send(kindCredit, []byte{in.id}, binary.BigEndian.AppendUint32(nil, uint32(credit)))
	}
	return n, nil
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
	credit  int
	err     error
	closed  bool
}

func newOut(m *Mux, id int) *Out {
	out := &Out{mux: m, id: byte(id), credit: window}
	out.changed = sync.NewCond(&out.mu)
	return out
}

func (out *Out) grant(n uint32) error {
	out.mu.Lock()
	defer out.mu.Unlock()
	if n > window || out.credit+int(n) > window {
		return fmt.Errorf("stream %d is granted more than its window", out.id)
	}
	out.credit += int(n)
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

// reserve waits for room and returns how many of n bytes may be sent.
func (out *Out) reserve(n int) (int, error) {
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
	n = min(n, out.credit, maxData)
	out.credit -= n
	return n, nil
}

// Abandon ends writing without a word to the other end, which then does not take
// what has come for everything there is.
func (out *Out) Abandon() { out.fail(io.ErrClosedPipe) }

// Write returns when everything is on its way.
func (out *Out) Write(p []byte) (int, error) {
	for written := 0; written < len(p); {
		n, err := out.reserve(len(p) - written)
		if err != nil {
			return written, err
		}
		if err := out.mux.send(kindData, []byte{out.id}, p[written:written+n]); err != nil {
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
