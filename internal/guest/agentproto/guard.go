package agentproto

import (
	"encoding/binary"
	"fmt"
	"io"
)

// The fields of yamux's headers that the guard checks (yamux spec.md): version, type, 2
// bytes of flags, 4 of the stream, 4 of the length. Only data has a body of that length.
const (
	muxHeaderSize = 12
	muxData       = 0
	muxPing       = 2
	muxSYN        = 1
)

// guard is the host's end below yamux. It checks received frames and ends the link if a guest
// initiates something. Agents only answer: they neither ping nor open channels. yamux would
// start a goroutine for each ping, which waits until its answer is sent, and a guest that
// does not read could create any number of them.
type guard struct {
	io.ReadWriteCloser

	head    [muxHeaderSize]byte
	got     int    // bytes of head
	body    uint32 // bytes of the frame's body still to come
	refused error
}

// Read returns the received bytes, up to a frame that is refused.
func (g *guard) Read(p []byte) (int, error) {
	if g.refused != nil {
		return 0, g.refused
	}
	n, err := g.ReadWriteCloser.Read(p)
	if sound := g.follow(p[:n]); g.refused != nil {
		return sound, g.refused
	}
	return n, err
}

// follow checks the next bytes and returns how many of them precede a refused frame.
func (g *guard) follow(b []byte) int {
	for at := 0; at < len(b); {
		if g.body > 0 {
			skip := min(int64(g.body), int64(len(b)-at))
			g.body -= uint32(skip)
			at += int(skip)
			continue
		}
		n := copy(g.head[g.got:], b[at:])
		if g.got += n; g.got == muxHeaderSize {
			if g.refused = g.header(); g.refused != nil {
				return at
			}
		}
		at += n
	}
	return len(b)
}

// header checks a complete header.
func (g *guard) header() error {
	g.got = 0
	kind, flags := g.head[1], binary.BigEndian.Uint16(g.head[2:])
	switch {
	case flags&muxSYN != 0 && kind == muxPing:
		return breach("it sent a ping")
	case flags&muxSYN != 0:
		return breach("it opened a channel")
	case kind == muxData:
		g.body = binary.BigEndian.Uint32(g.head[8:])
	}
	return nil
}

func breach(what string) error {
	return fmt.Errorf("the guest violates the protocol of its channel: %s, which no agent does", what)
}
