package agentproto

import (
	"bytes"
	"io"
)

// scanner finds frames in a stream of bytes that may start, or continue after an
// interruption, in the middle of one.
type scanner struct {
	r          io.Reader
	buf        []byte
	start, end int // the part of buf that is not yet consumed
}

func newScanner(r io.Reader) *scanner {
	return &scanner{r: r, buf: make([]byte, 2*(headerSize+maxPayload))}
}

// next returns the next valid frame. After an error of the reader (such as a deadline) it can
// be called again and loses nothing.
func (s *scanner) next() (frame, error) {
	for {
		if f, ok := s.parse(); ok {
			return f, nil
		}
		if err := s.fill(); err != nil {
			return frame{}, err
		}
	}
}

// parse looks for a whole frame in the buffer, and skips bytes that are not one.
func (s *scanner) parse() (frame, bool) {
	for {
		if !s.seek() {
			return frame{}, false
		}
		f, size, ok := parseFrame(s.buf[s.start:s.end])
		switch {
		case ok:
			s.start += size
			if f.kind == frameData {
				mask(f.payload, f.session)
			}
			return f, true
		case size > 0: // not complete yet
			at := s.greeting()
			if at < 0 {
				return frame{}, false
			}
			s.start = at
		case s.end-s.start < headerSize:
			return frame{}, false
		default:
			s.start++
		}
	}
}

// seek moves to the next magic number, or to a possible beginning of one.
func (s *scanner) seek() bool {
	if i := bytes.Index(s.buf[s.start:s.end], magic[:]); i >= 0 {
		s.start += i
		return true
	}
	s.start = max(s.start, s.end-len(magic)+1)
	return false
}

// greeting returns the position of a whole greeting within the unfinished frame at s.start,
// or -1. That happens if the other end was killed within a frame and its successor greets:
// the rest of that frame never arrives.
func (s *scanner) greeting() int {
	for at := s.start + 1; ; at++ {
		i := bytes.Index(s.buf[at:s.end], magic[:])
		if i < 0 {
			return -1
		}
		at += i
		f, _, ok := parseFrame(s.buf[at:s.end])
		if ok && (f.kind == frameHello || f.kind == frameAck) {
			return at
		}
	}
}

// fill reads more; the buffer holds two of the largest frames, so there is always room after
// an unfinished one.
func (s *scanner) fill() error {
	if s.start > 0 {
		s.end = copy(s.buf, s.buf[s.start:s.end])
		s.start = 0
	}
	n, err := s.r.Read(s.buf[s.end:])
	s.end += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}
