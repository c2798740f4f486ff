package agentproto

import (
	"io"
	"math"
	"net"
	"time"

	"github.com/hashicorp/yamux"
)

// muxConfig suits a channel whose other end can stand still for as long as it
// likes (a paused VM) and whose death shows as the end of the bytes: no
// keep-alive, no deadlines.
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
type Mux struct{ session *yamux.Session }

// HostMux is the host's end, which opens channels. A guest that tries to open any,
// or pings, loses the session.
func HostMux(s *Session) (*Mux, error) {
	m, err := yamux.Client(&guard{ReadWriteCloser: s}, muxConfig())
	if err != nil {
		return nil, err
	}
	return &Mux{m}, nil
}

// AgentMux is the agent's end, which accepts channels.
func AgentMux(s *Session) (*Mux, error) {
	m, err := yamux.Server(s, muxConfig())
	if err != nil {
		return nil, err
	}
	return &Mux{m}, nil
}

// Open opens a channel.
func (m *Mux) Open() (net.Conn, error) {
	s, err := m.session.OpenStream()
	if err != nil {
		return nil, err
	}
	return newChannel(s), nil
}

// Accept waits for a channel.
func (m *Mux) Accept() (net.Conn, error) {
	s, err := m.session.AcceptStream()
	if err != nil {
		return nil, err
	}
	return newChannel(s), nil
}

// Done is closed when the session has ended, before any channel reads its end.
func (m *Mux) Done() <-chan struct{} { return m.session.CloseChan() }

// Err says why the session has ended; nil while it lives.
func (m *Mux) Err() error {
	if !m.session.IsClosed() {
		return nil
	}
	_, err := m.session.AcceptStream() // nothing is left to accept: it says why
	return err
}

// Close ends the session and every channel; it waits for its goroutines.
func (m *Mux) Close() error { return m.session.Close() }

// channel is a yamux stream whose Close also ends a Read under way, which
// yamux's own does not.
type channel struct {
	*yamux.Stream
	rest *time.Timer // gives back the buffer
}

const (
	// restAfter is how long a channel must have been at rest to give back the buffer for what
	// came, which yamux else keeps at the size of the most that ever lay there.
	restAfter = time.Second
	// restAbove is what a Read brings, in bytes, after which there may be such a buffer.
	restAbove = 2 << 10
)

func newChannel(s *yamux.Stream) *channel {
	c := &channel{Stream: s}
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

// Close closes the channel.
func (c *channel) Close() error {
	c.rest.Stop()
	_ = c.SetReadDeadline(time.Unix(1, 0))
	return c.Stream.Close()
}
