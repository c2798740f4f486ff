package agentproto

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// muxFrame is a frame as yamux sends it.
func muxFrame(kind byte, flags uint16, length uint32, body string) []byte {
	b := binary.BigEndian.AppendUint16([]byte{0, kind}, flags)
	b = binary.BigEndian.AppendUint32(b, 1) // stream
	return append(binary.BigEndian.AppendUint32(b, length), body...)
}

// readOnly is the reading half of a session.
type readOnly struct{ io.Reader }

func (readOnly) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
func (readOnly) Close() error              { return nil }

// TestGuard lets pass what agents say, and nothing that begins with a frame of which
// a guest could send as many as it likes, wherever reads end.
func TestGuard(t *testing.T) {
	const ack, fin = 2, 4
	ping := muxFrame(muxPing, muxSYN, 7, "")
	honest := bytes.Join([][]byte{
		muxFrame(1, ack, 0, ""),
		muxFrame(muxData, 0, uint32(len(ping)), string(ping)), // in data a ping is none
		muxFrame(muxData, 0, 0, ""),
		muxFrame(1, fin, 1<<31, ""), // a window, no body
		muxFrame(muxPing, ack, 1<<31, ""),
		muxFrame(3, 0, 0, ""),
	}, nil)
	for name, c := range map[string]struct {
		then []byte
		told string
	}{
		"what agents say":       {nil, "EOF"},
		"a ping":                {ping, "violates the protocol of its channel: it sent a ping"},
		"a ping with more":      {muxFrame(muxPing, muxSYN|ack, 7, ""), "it sent a ping"},
		"a channel":             {muxFrame(1, muxSYN, 0, ""), "it opened a channel"},
		"a channel that speaks": {muxFrame(muxData, muxSYN, 2, "hi"), "it opened a channel"},
	} {
		for way, split := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "halved": iotest.HalfReader, "byte by byte": iotest.OneByteReader,
		} {
			t.Run(name+" "+way, func(t *testing.T) {
				all := bytes.NewReader(append(honest[:len(honest):len(honest)], c.then...))
				g := &guard{ReadWriteCloser: readOnly{iotest.DataErrReader(split(all))}}
				var passed bytes.Buffer
				buf, err := make([]byte, 4096), error(nil)
				for err == nil {
					var n int
					n, err = g.Read(buf)
					passed.Write(buf[:n])
				}
				if !strings.Contains(err.Error(), c.told) {
					t.Errorf("got %v\nwant %q", err, c.told)
				}
				// Of a header that comes in parts the first may have passed, which is
				// not enough to act on.
				if b := passed.Bytes(); !bytes.HasPrefix(b, honest) || len(b)-len(honest) >= muxHeaderSize {
					t.Errorf("%d bytes passed of %d that are sound", len(b), len(honest))
				}
				if c.then != nil {
					if n, again := g.Read(buf); n != 0 || again != err {
						t.Errorf("then it reads %d bytes, %v", n, again)
					}
				}
			})
		}
	}
}
