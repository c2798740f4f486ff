package agentproto

import (
	"encoding/binary"
	"errors"
	"io"
	"time"
)

// ErrReset is the error of a session that the agent has ended.
var ErrReset = errors.New("the guest's agent has ended the session")

// errLost means that frames of the session are missing: it cannot continue.
var errLost = errors.New("frames of the guest's channel are lost")

// Session carries the bytes of one session in frames. One goroutine at a time may read, and
// one may write, as yamux does.
type Session struct {
	conn    Conn
	frames  *scanner
	id      uint64
	onHello func(Hello) // agent only

	rest    []byte // of the frame being read
	readSeq uint32
	readErr error

	out      []byte // frame being written
	held     []byte // yamux header whose body follows
	writeSeq uint32
	writeErr error
}

func newSession(conn Conn, frames *scanner, id uint64) *Session {
	return &Session{conn: conn, frames: frames, id: id}
}

// Read returns bytes of this session and drops frames of others.
func (s *Session) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		if s.readErr != nil {
			return 0, s.readErr
		}
		s.rest, s.readErr = s.nextPayload()
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func (s *Session) nextPayload() ([]byte, error) {
	f, err := s.frames.next()
	if err != nil {
		return nil, err
	}
	switch {
	case f.kind == frameData && f.session == s.id:
		if f.seq != s.readSeq {
			return nil, errLost
		}
		s.readSeq++
		return f.payload, nil
	case f.kind == frameReset && f.session == s.id && s.onHello == nil:
		return nil, ErrReset
	case f.kind == frameHello && s.onHello != nil:
		var hello Hello
		if parseGreeting(f, &hello, &hello.Nonce) == nil && sessionOf(hello.Nonce) != s.id {
			s.onHello(hello)
			return nil, io.EOF
		}
	}
	return nil, nil
}

// Write sends p in as many frames as necessary.
func (s *Session) Write(p []byte) (int, error) {
	if s.writeErr != nil {
		return 0, s.writeErr
	}
	if len(s.held) == 0 && bodyFollows(p) {
		s.held = append(s.held, p...)
		return len(p), nil
	}
	for total, rest := len(p), p; ; {
		room := maxPayload - len(s.held)
		part := rest[:min(room, len(rest))]
		if err := s.writeFrame(part); err != nil {
			s.writeErr = err
			return total - len(rest), err
		}
		if rest = rest[len(part):]; len(rest) == 0 {
			return total, nil
		}
	}
}

func (s *Session) writeFrame(part []byte) error {
	payload := part
	if len(s.held) > 0 {
		payload = append(s.held, part...)
		s.held = s.held[:0]
	}
	s.out = appendFrame(s.out[:0], frame{kind: frameData, session: s.id, seq: s.writeSeq, payload: payload})
	s.writeSeq++
	_, err := s.conn.Write(s.out)
	return err
}

// bodyFollows reports whether p is the header of a yamux data message whose body is written
// next (yamux spec.md: version 0, type 0, length in the last 4 of 12 bytes; its send loop
// writes header and body separately). The two are sent in one frame: every write costs the
// guest an exit to its VMM.
func bodyFollows(p []byte) bool {
	return len(p) == 12 && p[0] == 0 && p[1] == 0 && binary.BigEndian.Uint32(p[8:]) > 0
}

// Close ends reads and writes in progress. It closes the host's connection; the agent's
// channel remains for the next session.
func (s *Session) Close() error {
	if s.onHello == nil {
		return s.conn.Close()
	}
	return s.conn.SetDeadline(time.Unix(1, 0))
}
