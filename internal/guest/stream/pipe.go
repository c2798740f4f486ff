// Package stream is the resumable pipe between a client and the agent: ordered bytes in both
// directions that outlive the connections that carry them. Both ends keep the bytes that the
// other has not consumed yet, at most Window, and send their position on every new
// connection; so no byte is lost or received twice.
package stream

import (
	"crypto/rand"
	"errors"
	"io"
	"sync"
	"time"

	"banger/api"
)

// Window is how many bytes a writer may be ahead of the reader at the other
// end. It is also the size of each replay and receive buffer, at most.
const Window = 256 << 10

// ErrClosed is the error of a pipe that was closed at this end.
var ErrClosed = errors.New("the stream is closed")

// ErrOtherTimeline is the error of a stream whose agent is that of the guest at another time, or of a
// copy of it.
var ErrOtherTimeline = api.Errorf(api.KindNotFound, "the VM was taken back to an earlier state, or is a copy: this session belongs to another")

// connectionWindow is the window of a pipe that carries a forwarded connection, of which there
// may be a thousand. The writer enforces it: the other end may be older. An end acknowledges
// when it has read as much, so the writer never waits for ackDelay.
const connectionWindow = Window / 4

const (
	// ackDelay is how long an acknowledgement is delayed to be batched. It only frees memory
	// at the other end, if less than a quarter of a window is unacknowledged.
	ackDelay = 20 * time.Millisecond
	// closeTimeout bounds how long Close tries to send the last frames.
	closeTimeout = time.Second
)

// ID names a pipe.
type ID [16]byte

// NewID returns a random ID.
func NewID() ID {
	var id ID
	rand.Read(id[:])
	return id
}

// Pipe is one end of a resumable pipe. Reading and writing block while there is
// no connection, as they do while there is nothing to read and no room to write.
type Pipe struct {
	id    ID
	flags byte // sent with every attachment

	mu      sync.Mutex
	changed *sync.Cond

	window  int    // how many bytes out may hold
	out     ring   // written here, not consumed there
	outBase uint64 // offset of the front of out
	outFin  bool   // nothing more will be written
	flushed bool   // the other end has consumed everything and seen the end

	in        ring // received, not read here
	inBase    uint64
	inFin     bool // nothing more will be received
	ackNow    bool // ackDelay is over
	ackTimer  *time.Timer
	ackArmed  bool
	flushedCh chan struct{}
	doneCh    chan struct{}

	met bool // the other end has answered at least once
	// generation is that of the guest at the first answer; nil: none yet, or an older agent. Client only.
	generation *uint64
	newest     uint32 // client: number of the next attempt to attach
	attached   uint32 // number of the newest attempt that was attached
	err        error  // why the pipe is over
	told       bool   // the other end knows the reason
	closing    bool   // Close was called: flush, then end
	att        *attachment
}

// New returns an end of the pipe id.
func New(id ID) *Pipe {
	p := &Pipe{id: id, window: Window, flushedCh: make(chan struct{}), doneCh: make(chan struct{})}
	p.changed = sync.NewCond(&p.mu)
	return p
}

// NewConnection is New for the client's end of a pipe that carries a forwarded connection. The
// other end learns this before it creates anything, because it has few places for these.
func NewConnection(id ID) *Pipe {
	p := New(id)
	p.flags = flagConnection
	p.Narrow()
	return p
}

// Narrow sets the window to that of a forwarded connection, for subsequent writes.
func (p *Pipe) Narrow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.window = connectionWindow
}

// ID returns the pipe's id.
func (p *Pipe) ID() ID { return p.id }

// Flushed is closed when the other end has consumed everything that was written
// here, and has seen the end.
func (p *Pipe) Flushed() <-chan struct{} { return p.flushedCh }

// Done is closed when the pipe was closed or reset, from either end.
func (p *Pipe) Done() <-chan struct{} { return p.doneCh }

// Met reports whether the other end has ever answered.
func (p *Pipe) Met() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.met
}

// Read reads what the other end wrote; io.EOF is its end.
func (p *Pipe) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.closing:
			return 0, ErrClosed
		case p.in.len() > 0:
			n := p.in.peek(b, 0)
			p.in.drop(n)
			p.inBase += uint64(n)
			p.consumed()
			return n, nil
		case p.inFin:
			return 0, io.EOF
		case p.err != nil:
			return 0, p.err
		}
		p.changed.Wait()
	}
}

// Write returns when b is in the replay buffer: the other end will get it.
func (p *Pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for written := 0; ; {
		switch {
		case p.err != nil:
			return written, p.err
		case p.closing || p.outFin:
			return written, ErrClosed
		case written == len(b):
			return written, nil
		}
		if room := p.window - p.out.len(); room > 0 {
			part := b[written:min(len(b), written+room)]
			p.out.push(part)
			written += len(part)
			p.changed.Broadcast()
			continue
		}
		p.changed.Wait()
	}
}

// CloseWrite sends the end of the bytes that are written here. Reading continues.
func (p *Pipe) CloseWrite() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.outFin = true
	p.changed.Broadcast()
	return nil
}

// Reset ends the pipe immediately. If there is a connection, it sends the reason to the other
// end. Received bytes can still be read.
func (p *Pipe) Reset(reason error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail(reason, false)
}

// Close ends the pipe. If the other end has written everything, bytes written here are still
// sent, for a second at most; otherwise the pipe is reset.
func (p *Pipe) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing {
		return nil
	}
	if !p.inFin {
		p.fail(api.Errorf(api.KindCanceled, "the other end closed the stream"), false)
	}
	p.closing, p.outFin = true, true
	if p.err == nil {
		p.finish()
	}
	p.changed.Broadcast()
	p.linger()
	p.in = ring{}
	return nil
}

// linger waits until the last frames are sent; finish bounds the time.
func (p *Pipe) linger() {
	if p.att == nil {
		return
	}
	for att := p.att; p.att == att; {
		p.changed.Wait()
	}
}

// fail ends the pipe with err. told reports that the other end knows the reason.
func (p *Pipe) fail(err error, told bool) {
	if p.err != nil || p.closing {
		return
	}
	p.err, p.told = err, told
	p.out = ring{}
	p.finish()
	p.changed.Broadcast()
}

// finish marks the end of the pipe and bounds the time for sending it to the other end.
func (p *Pipe) finish() {
	close(p.doneCh)
	if p.ackTimer != nil {
		p.ackTimer.Stop()
	}
	if att := p.att; att != nil {
		time.AfterFunc(closeTimeout, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.end(att, nil)
		})
	}
}

// ack returns the acknowledgement that every frame carries: the position of this end's reader.
func (p *Pipe) ack() uint64 {
	if p.inFin && p.in.len() == 0 {
		return p.inBase + 1
	}
	return p.inBase
}

// received returns the position up to which bytes were received, which an attachment sends.
func (p *Pipe) received() uint64 {
	n := p.inBase + uint64(p.in.len())
	if p.inFin {
		n++
	}
	return n
}

// consumed acknowledges what was read: immediately if a quarter of the window is
// unacknowledged or the stream has ended, otherwise after ackDelay.
func (p *Pipe) consumed() {
	if p.att == nil {
		return
	}
	pending := p.ack() - p.att.acked
	switch {
	case pending == 0:
	case pending >= Window/4 || p.inFin:
		p.changed.Broadcast()
	case !p.ackArmed:
		p.ackArmed = true
		if p.ackTimer == nil {
			p.ackTimer = time.AfterFunc(ackDelay, p.ackDue)
		} else {
			p.ackTimer.Reset(ackDelay)
		}
	}
}

func (p *Pipe) ackDue() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ackArmed, p.ackNow = false, true
	p.changed.Broadcast()
}

// written returns the offset after the last byte written here.
func (p *Pipe) written() uint64 { return p.outBase + uint64(p.out.len()) }

// acknowledge frees what the other end has consumed.
func (p *Pipe) acknowledge(ack uint64) error {
	end := p.written()
	if ack == end+1 && p.outFin && !p.flushed {
		p.flushed = true
		close(p.flushedCh)
	}
	if p.flushed && ack == end+1 {
		ack = end
	}
	if ack > end || ack < p.outBase {
		return protocolErrorf("stream acknowledgement %d is outside of %d to %d", ack, p.outBase, end)
	}
	if n := int(ack - p.outBase); n > 0 {
		p.out.drop(n)
		p.outBase = ack
		p.changed.Broadcast()
	}
	return nil
}
