package stream

import (
	"encoding/binary"
	"errors"
	"io"

	"banger/api"
)

// Conn is a connection that a pipe can be attached to.
type Conn interface {
	io.ReadWriteCloser
}

// attachment is a pipe's use of one connection. The pipe's mutex guards it.
type attachment struct {
	conn  Conn
	greet []byte // payload of the first frame; nil once it is sent
	ready bool   // the offset to send from is known
	sent  uint64 // next offset to send
	fin   bool   // the end is sent
	acked uint64 // newest acknowledgement sent
	calls bool   // this is the client's end
	over  bool
	err   error
}

// Attach attaches the client's end to a new connection and returns when the connection has
// ended: nil if the pipe is over, otherwise why the connection broke. It closes conn. It
// calls onMeet, unless nil, once the other end has answered.
func (p *Pipe) Attach(conn Conn, onMeet func()) error {
	a := &attachment{conn: conn, calls: true}
	p.mu.Lock()
	try := p.newest
	p.newest++
	// At first the other end has nothing: no need to wait for its offset.
	a.ready = try == 0
	flags := p.flags
	if !p.met {
		flags |= flagCreate
	}
	a.greet = attachPayload(p.id, flags, try)
	if p.generation != nil {
		a.greet = binary.BigEndian.AppendUint64(a.greet, *p.generation)
	}
	p.mu.Unlock()
	if !p.install(a, try) {
		conn.Close()
		return nil
	}
	return p.run(a, &reader{r: conn}, onMeet)
}

// Attachment is a client's request to attach, as the agent reads it.
type Attachment struct {
	ID     ID
	Create bool // the stream may be created: the client has had no answer yet
	// Connection reports that it will carry a forwarded connection. Older clients do not
	// set it.
	Connection bool
	// Try is the number of the client's attempt, from 0. If channels of two links are
	// served at once, the attempt with the higher number replaces this one.
	Try uint32

	conn       Conn
	frames     *reader
	first      frame
	generation *uint64 // that the client knows
	answer     []byte
}

// Accept reads a client's request to attach. The caller answers with Serve or Refuse, which
// close the connection.
func Accept(conn Conn) (*Attachment, error) {
	frames := &reader{r: conn}
	f, err := frames.next()
	if err != nil {
		return nil, err
	}
	if f.kind != kindAttach {
		return nil, protocolErrorf("stream begins with a frame of type %d", f.kind)
	}
	id, flags, try, generation, err := parseAttach(f.payload)
	if err != nil {
		return nil, err
	}
	f.payload = nil
	return &Attachment{
		ID: id, Create: flags&flagCreate != 0, Connection: flags&flagConnection != 0, Try: try,
		conn: conn, frames: frames, first: f, generation: generation, answer: []byte{},
	}, nil
}

// Within tells the client the generation of the guest, and returns ErrOtherTimeline if the stream
// began in another.
func (t *Attachment) Within(generation uint64) error {
	if t.generation != nil && *t.generation != generation {
		return ErrOtherTimeline
	}
	t.answer = binary.BigEndian.AppendUint64(nil, generation)
	return nil
}

// Refuse sends the client the reason why it cannot attach.
func (t *Attachment) Refuse(reason error) error {
	payload := reasonPayload(reason)
	head := appendHeader(nil, frame{kind: kindReset, length: len(payload)})
	_, err := t.conn.Write(append(head, payload...))
	return errors.Join(err, t.conn.Close())
}

// Serve attaches the agent's end p and returns when the connection has ended, as
// Attach does. An attempt that a later one has replaced only closes its connection: its
// offsets are outdated.
func (t *Attachment) Serve(p *Pipe) error {
	a := &attachment{conn: t.conn, greet: t.answer}
	if !p.install(a, t.Try) {
		if p.overtaken(t.Try) {
			return t.Drop()
		}
		return t.Refuse(api.Errorf(api.KindNotFound, "unknown stream: it has ended"))
	}
	p.mu.Lock()
	err := p.meet(a, t.first)
	p.mu.Unlock()
	if err != nil {
		p.broken(a, err)
	}
	return p.run(a, t.frames, nil)
}

// Drop closes the connection of an attempt that a later one has replaced.
func (t *Attachment) Drop() error {
	return errors.Join(errors.New("the client has attached again since"), t.conn.Close())
}

func (p *Pipe) overtaken(try uint32) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return try < p.attached && p.err == nil && !p.closing
}

// install makes a the pipe's attachment instead of an earlier one, whose connection it
// closes. It returns false if the pipe is over, or a later attempt is attached.
func (p *Pipe) install(a *attachment, try uint32) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if p.err != nil || p.closing || try < p.attached {
			return false
		}
		p.attached = try
		if p.att == nil {
			p.att = a
			return true
		}
		p.end(p.att, errors.New("the stream was attached again"))
		p.changed.Wait()
	}
}

// run carries frames in both directions until the connection or the pipe ends.
func (p *Pipe) run(a *attachment, frames *reader, onMeet func()) error {
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		p.send(a)
	}()
	for {
		f, err := frames.next()
		if err == nil {
			err = p.receive(a, f, onMeet)
		}
		if err != nil {
			p.broken(a, err)
			break
		}
	}
	<-sent
	p.mu.Lock()
	defer p.mu.Unlock()
	p.att = nil
	p.changed.Broadcast()
	if p.err != nil || p.closing {
		return nil
	}
	return a.err
}

// end ends an attachment; its goroutines follow.
func (p *Pipe) end(a *attachment, err error) {
	if a.over {
		return
	}
	a.over, a.err = true, err
	a.conn.Close()
	p.changed.Broadcast()
}

// broken ends an attachment, and also the pipe if the other side violates the protocol.
func (p *Pipe) broken(a *attachment, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var fault protocolError
	if errors.As(err, &fault) && !a.over {
		p.fail(api.Errorf(api.KindInternal, "the stream broke: %w", err), false)
		return // send sends the reason, then ends the attachment
	}
	p.end(a, err)
}

// meet handles the other end's first frame.
func (p *Pipe) meet(a *attachment, f frame) error {
	offset, end := f.offset, p.written()
	p.met = true
	if offset == end+1 && p.outFin {
		offset, a.fin = end, true
	}
	if offset > end || offset < p.outBase {
		return protocolErrorf("stream offset %d is outside of %d to %d", f.offset, p.outBase, end)
	}
	if !a.ready {
		a.sent, a.ready = offset, true
	}
	p.changed.Broadcast()
	return p.acknowledge(f.ack)
}

// sameGeneration reports whether the guest is the one that has answered before. A first answer decides
// which one that is. The caller holds mu.
func (p *Pipe) sameGeneration(now *uint64) bool {
	switch {
	case !p.met:
		p.generation = now
		return true
	case p.generation == nil: // an older agent, which cannot have become another
		return true
	}
	return now != nil && *now == *p.generation
}

// receive handles one frame.
func (p *Pipe) receive(a *attachment, f frame, onMeet func()) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.over {
		return a.err
	}
	if f.kind == kindReset {
		reason := parseReason(f.payload)
		if api.KindOf(reason) == api.KindFrozen && !p.met {
			return reason // nothing has begun: another attempt may succeed
		}
		p.fail(reason, true)
		return errors.New("the stream was reset")
	}
	if f.kind == kindAttach {
		if a.calls && !p.sameGeneration(parseGeneration(f.payload)) {
			p.fail(ErrOtherTimeline, true) // it is not the other end's session that ends
			return ErrOtherTimeline
		}
		if onMeet != nil {
			onMeet()
		}
		return p.meet(a, f)
	}
	if err := p.acknowledge(f.ack); err != nil {
		return err
	}
	at := p.inBase + uint64(p.in.len())
	switch f.kind {
	case kindData:
		if f.offset != at || p.inFin || p.in.len()+f.length > Window {
			return protocolErrorf("stream data of %d bytes at %d does not fit: %d bytes were received, of which %d are read",
				f.length, f.offset, at, p.inBase)
		}
		if p.err == nil && !p.closing {
			p.in.push(f.payload)
		}
	case kindFin:
		if f.offset != at || p.inFin {
			return protocolErrorf("stream end at %d does not fit: %d bytes were received", f.offset, at)
		}
		p.inFin = true
	}
	p.changed.Broadcast()
	return nil
}
