package stream

import (
	"time"

	"banger/internal/guest/chunk"
)

// send writes frames to a's connection until it is over, and closes it.
func (p *Pipe) send(a *attachment) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !a.over {
		f, ok := p.nextFrame(a)
		if !ok {
			if p.closing || p.err != nil {
				p.end(a, nil)
				return
			}
			p.changed.Wait()
			continue
		}
		buf := chunk.Get(frameHeader + f.length)
		appendHeader(buf[:0], f)
		if f.kind == kindData {
			p.out.peek(buf[frameHeader:], int(f.offset-p.outBase))
		} else {
			copy(buf[frameHeader:], f.payload)
		}
		p.mu.Unlock()
		_, err := a.conn.Write(buf)
		chunk.Put(buf)
		p.mu.Lock()
		if err != nil {
			p.peerClosed(a, err)
			return
		}
	}
}

// peerClosed ends an attachment whose other end does not read any more. Its last frames, in
// particular the reason for the end, may still be in the connection: they are read first, for
// closeTimeout at most.
func (p *Pipe) peerClosed(a *attachment, err error) {
	time.AfterFunc(closeTimeout, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.end(a, err)
	})
}

// nextFrame returns the next frame to send; ok is false if there is none.
func (p *Pipe) nextFrame(a *attachment) (f frame, ok bool) {
	f = frame{ack: p.ack()}
	switch {
	case a.greet != nil:
		f.kind, f.offset, f.payload = kindAttach, p.received(), a.greet
		a.greet = nil
	case p.err != nil:
		if p.told {
			return frame{}, false
		}
		p.told = true
		f.kind, f.payload = kindReset, reasonPayload(p.err)
	case a.ready && a.sent < p.written():
		f.kind, f.offset = kindData, a.sent
		f.length = int(min(p.written()-a.sent, maxPayload))
		a.sent += uint64(f.length)
		a.acked, p.ackNow = f.ack, false
		return f, true
	case a.ready && p.outFin && !a.fin:
		f.kind, f.offset = kindFin, p.written()
		a.fin = true
	case p.ackPending(a, f.ack):
		f.kind = kindAck
	default:
		return frame{}, false
	}
	f.length = len(f.payload)
	a.acked = f.ack
	p.ackNow = false
	return f, true
}

func (p *Pipe) ackPending(a *attachment, ack uint64) bool {
	pending := ack - a.acked
	return pending > 0 && (pending >= Window/4 || p.inFin && p.in.len() == 0 || p.ackNow || p.closing)
}
