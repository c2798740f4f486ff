package agentproto

import (
	"errors"
	"io"
	"math"
	"net"
	"time"

	"github.com/hashicorp/yamux"
)

// muxConfig is for a channel whose other end can be stopped for any time (a paused VM), and
// whose end shows as the end of the bytes: no keep-alive, no deadlines.
func muxConfig() *yamux.Config {
	c := yamux.DefaultConfig()
	c.EnableKeepAlive = false
	c.ConnectionWriteTimeout = math.MaxInt64
	c.StreamOpenTimeout = 0
	c.StreamCloseTimeout = 30 * time.Second
	c.LogOutput = io.Discard
	return c
}

// Mux carries channels over a session.
type Mux struct {
	session *yamux.Session
	bulk    chan struct{} // holds one for each piece that waits to be sent or is being sent
}

// All channels share one queue in yamux, in order of arrival, with a place for one piece of
// each. So that a writer of a few bytes does not wait for a piece of every writer of many,
// only a few large pieces are admitted at a time, in turns.
const (
	// piece is the size of the largest piece that is sent at once, in bytes.
	piece = 16 << 10
	// fewBytes is the size, in bytes, up to which a piece does not wait for large ones: a
	// line, a screen, a frame of credit.
	fewBytes = 2 << 10
	// pieces is how many large ones may be in the queue: while one is sent the next is ready.
	pieces = 2
)

func newMux(s *yamux.Session) *Mux { return &Mux{s, make(chan struct{}, pieces)} }

// HostMux is the host's end, which opens channels. If a guest tries to open one, or sends a
// ping, its session ends.
func HostMux(s *Session) (*Mux, error) {
	m, err := yamux.Client(&guard{ReadWriteCloser: s}, muxConfig())
	if err != nil {
		return nil, err
	}
	return newMux(m), nil
}

// AgentMux is the agent's end, which accepts channels.
func AgentMux(s *Session) (*Mux, error) {
	m, err := yamux.Server(s, muxConfig())
	if err != nil {
		return nil, err
	}
	return newMux(m), nil
}

// Open opens a channel.
func (m *Mux) Open() (net.Conn, error) {
	s, err := m.session.OpenStream()
	if err != nil {
		return nil, err
	}
	return m.newChannel(s), nil
}

// Accept waits for a channel.
func (m *Mux) Accept() (net.Conn, error) {
	s, err := m.session.AcceptStream()
	if err != nil {
		return nil, err
	}
	return m.newChannel(s), nil
}

// Done is closed when the session has ended, before any channel reads its end.
func (m *Mux) Done() <-chan struct{} { return m.session.CloseChan() }

// Err returns why the session has ended, or nil while it is open.
func (m *Mux) Err() error {
	if !m.session.IsClosed() {
		return nil
	}
	_, err := m.session.AcceptStream() // there is nothing to accept any more: it returns why
	return err
}

// Close ends the session and every channel; it waits for its goroutines.
func (m *Mux) Close() error { return m.session.Close() }

// channel is a yamux stream whose Close also ends a Read in progress, which yamux's own does
// not.
type channel struct {
	*yamux.Stream
	bulk chan struct{} // the Mux's
	rest *time.Timer   // releases the buffer
}

const (
	// restAfter is how long a channel must have been idle before its receive buffer is
	// released, which yamux otherwise keeps at its largest size.
	restAfter = time.Second
	// restAbove is the size of a Read, in bytes, above which there may be such a buffer.
	restAbove = 2 << 10
)

func (m *Mux) newChannel(s *yamux.Stream) *channel {
	c := &channel{Stream: s, bulk: m.bulk}
	c.rest = time.AfterFunc(restAfter, s.Shrink)
	return c
}

// Read reads what the other end sent.
func (c *channel) Read(p []byte) (int, error) {
	n, err := c.Stream.Read(p)
	if n > restAbove {
		c.rest.Reset(restAfter)
	}
	return n, err
}

// Write sends p, in pieces that take turns if it is large.
func (c *channel) Write(p []byte) (int, error) {
	if len(p) <= fewBytes {
		return c.Stream.Write(p)
	}
	for written := 0; ; {
		n, err := c.writePiece(p[written:min(len(p), written+piece)])
		written += n
		if err != nil || written == len(p) {
			return written, err
		}
	}
}

// writePiece sends a large piece, or the beginning of it. While the other end does not accept
// more, it does not block others: it waits outside the queue, with a few bytes.
func (c *channel) writePiece(p []byte) (int, error) {
	c.bulk <- struct{}{}
	_ = c.SetWriteDeadline(time.Unix(1, 0)) // yamux checks it only if the window is used up
	n, err := c.Stream.Write(p)
	_ = c.SetWriteDeadline(time.Time{})
	<-c.bulk
	if n == len(p) || !errors.Is(err, yamux.ErrTimeout) {
		return n, err
	}
	few, err := c.Stream.Write(p[n:min(len(p), n+fewBytes)])
	return n + few, err
}

// Close closes the channel.
func (c *channel) Close() error {
	c.rest.Stop()
	_ = c.SetReadDeadline(time.Unix(1, 0))
	return c.Stream.Close()
}
