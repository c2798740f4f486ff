// Package stream is the resumable pipe between a client and the agent: ordered
// bytes both ways that outlive the connections that carry them. Both ends keep
// what the other has not consumed yet, at most Window bytes, and say on every
// new connection how far they got; so not a byte is lost or comes twice.
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

// ErrClosed is what a pipe returns once it was closed at this end.
var ErrClosed = errors.New("the stream is closed")

// connectionWindow is the same for a pipe that carries a forwarded connection, of which there
// may be a thousand. It is the writer's: the other end may be older. An end acknowledges when
// it has read as much, so nothing ever waits for ackDelay.
const connectionWindow = Window / 4

const (
	// ackDelay is how long an acknowledgement waits for company. It only frees
	// memory at the other end, where less than a quarter of a window is open.
	ackDelay = 20 * time.Millisecond
	// closeTimeout is how long Close tries to get the last frames out.
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
	flags byte // what every attachment says

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

	met      bool   // the other end has answered at least once
	newest   uint32 // client: number of the next attempt to attach
	attached uint32 // number of the newest attempt that came through
	err      error  // why the pipe is over
	told     bool   // the other end knows why
	closing  bool   // Close was called: flush and go
	att      *attachment
}

// New returns an end of the pipe id.
func New(id ID) *Pipe {
	p := &Pipe{id: id, window: Window, flushedCh: make(chan struct{}), doneCh: make(chan struct{})}
	p.changed = sync.NewCond(&p.mu)
	return p
}

// NewConnection is New for the client's end of a pipe that carries a forwarded connection:
// the other end is told before it makes anything, and has few places for these.
func NewConnection(id ID) *Pipe {
	p := New(id)
	p.flags = flagConnection
	p.Narrow()
	return p
}

// Narrow makes the window that of a forwarded connection, for what is written from now on.
func (p *Pipe) Narrow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.window = connectionWindow
}

// ID returns the pipe's name.
func (p *Pipe) ID() ID { return p.id }

// Flushed is closed when the other end has consumed everything that was written
// here, and has seen the end.
func (p *Pipe) Flushed() <-chan struct{} { return p.flushedCh }

// Done is closed when the pipe was closed or reset, from either end.
func (p *Pipe) Done() <-chan struct{} { return p.doneCh }

// Met says whether the other end has ever answered.
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

// CloseWrite says that nothing more will be written. Reading goes on.
func (p *Pipe) CloseWrite() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.outFin = true
	p.changed.Broadcast()
	return nil
}

// Reset ends the pipe at once for a reason that the other end learns, if there is
// a connection. What was received can still be read.
func (p *Pipe) Reset(reason error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail(reason, false)
}

// Close ends the pipe. Where the other end has written everything, what is
// written here is still sent, for a second at most; otherwise the pipe is reset.
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

// linger waits until the last frames are out; finish bounds the time.
func (p *Pipe) linger() {
	if p.att == nil {
		return
	}
	for att := p.att; p.att == att; {
		p.changed.Wait()
	}
}

// fail ends the pipe with err. told says that the other end knows already.
func (p *Pipe) fail(err error, told bool) {
	if p.err != nil || p.closing {
		return
	}
	p.err, p.told = err, told
	p.out = ring{}
	p.finish()
	p.changed.Broadcast()
}

// finish marks the end of the pipe and bounds the time for telling the other end.
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

// ack is what every frame carries: how far this end's reader is.
func (p *Pipe) ack() uint64 {
	if p.inFin && p.in.len() == 0 {
		return p.inBase + 1
	}
	return p.inBase
}

// received is what an attachment tells: how far the bytes have come.
func (p *Pipe) received() uint64 {
	n := p.inBase + uint64(p.in.len())
	if p.inFin {
		n++
	}
	return n
}

// consumed sees to it that the other end learns what was read: at once where a
// quarter of the window waits for it or the stream has ended, else a little later.
func (p *Pipe) consumed() {
	if p.att == nil {
		return
	}
	owed := p.ack() - p.att.acked
	switch {
	case owed == 0:
	case owed >= Window/4 || p.inFin:
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

// written is the offset behind the last byte written here.
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
