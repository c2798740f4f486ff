package stream

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"

	"banger/api"
	"banger/internal/guest/chunk"
)

// A connection carries frames:
//
//	0  1 byte   type
//	1  4 bytes  payload length
//	5  8 bytes  offset
//	13 8 bytes  acknowledgement: how many bytes the sender's reader has consumed,
//	            and one more once it has seen the end
const (
	frameHeader = 21
	maxPayload  = 32 << 10
)

type kind byte

const (
	// kindAttach is the first frame in both directions. Its offset is how many bytes the
	// sender has received (one more with the end): the other side sends from there on. The
	// client's payload is version, id, flags and the 4-byte number of its attempt: an
	// attempt that a later one has replaced is not served. The agent's payload is the 8-byte
	// generation of the guest, which older agents do not send. A client that has received it sends it
	// behind its own payload from then on: bytes of a guest that was taken back to an earlier state,
	// or is a copy, must not be joined to those that were received.
	kindAttach kind = 1
	kindData   kind = 2 // offset: of the first byte
	kindAck    kind = 3
	kindFin    kind = 4 // offset: of the end
	kindReset  kind = 5 // payload: an api.Error as JSON
)

const (
	attachVersion = 1
	attachFlags   = 1 + len(ID{})
	attachSize    = attachFlags + 1 + 4
	// generationSize is the size of a generation, which may follow.
	generationSize = 8
	flagCreate     = 1 // the stream may be created: it has not been answered yet
	// flagConnection marks a stream for a forwarded connection. Older agents ignore it.
	flagConnection = 2
	// maxReason is the limit for the payload of a reset.
	maxReason = 4 << 10
)

type frame struct {
	kind    kind
	length  int
	offset  uint64
	ack     uint64
	payload []byte
}

func appendHeader(dst []byte, f frame) []byte {
	dst = append(dst, byte(f.kind))
	dst = binary.BigEndian.AppendUint32(dst, uint32(f.length))
	dst = binary.BigEndian.AppendUint64(dst, f.offset)
	return binary.BigEndian.AppendUint64(dst, f.ack)
}

// parseHeader reads a header and checks its length against the limit of its type.
func parseHeader(b []byte) (frame, error) {
	f := frame{
		kind:   kind(b[0]),
		offset: binary.BigEndian.Uint64(b[5:]),
		ack:    binary.BigEndian.Uint64(b[13:]),
	}
	length := binary.BigEndian.Uint32(b[1:])
	limit := uint32(0)
	switch f.kind {
	case kindAttach:
		limit = uint32(attachSize + generationSize)
	case kindData:
		limit = maxPayload
	case kindReset:
		limit = maxReason
	case kindAck, kindFin:
	default:
		return frame{}, fmt.Errorf("stream frame of unknown type %d", f.kind)
	}
	if length > limit {
		return frame{}, fmt.Errorf("stream frame of type %d with %d bytes is too long", f.kind, length)
	}
	f.length = int(length)
	return f, nil
}

// reader reads frames; a payload is valid until the next read.
type reader struct {
	r    io.Reader
	head [frameHeader]byte
	buf  []byte
}

func (r *reader) next() (frame, error) {
	chunk.Put(r.buf) // the next frame may arrive much later
	r.buf = nil
	if _, err := io.ReadFull(r.r, r.head[:]); err != nil {
		return frame{}, err
	}
	f, err := parseHeader(r.head[:])
	if err != nil {
		return frame{}, protocolError{err}
	}
	r.buf = chunk.Get(f.length)
	f.payload = r.buf
	_, err = io.ReadFull(r.r, f.payload)
	return f, err
}

// protocolError is a fault of the other side, not of the connection: retrying does not help.
type protocolError struct{ error }

func protocolErrorf(format string, args ...any) error {
	return protocolError{fmt.Errorf(format, args...)}
}

func attachPayload(id ID, flags byte, try uint32) []byte {
	payload := append([]byte{attachVersion}, id[:]...)
	return binary.BigEndian.AppendUint32(append(payload, flags), try)
}

// parseAttach reads a client's payload. The generation is nil if the client does not know one.
func parseAttach(payload []byte) (id ID, flags byte, try uint32, generation *uint64, err error) {
	size := len(payload)
	if size != attachSize && size != attachSize+generationSize || payload[0] != attachVersion {
		return id, 0, 0, nil, protocolErrorf("bad stream attachment")
	}
	copy(id[:], payload[1:])
	generation = parseGeneration(payload[attachSize:])
	return id, payload[attachFlags], binary.BigEndian.Uint32(payload[attachFlags+1:]), generation, nil
}

// parseGeneration reads the generation of an agent, or of a client; nil: it sends none.
func parseGeneration(payload []byte) *uint64 {
	if len(payload) != generationSize {
		return nil
	}
	generation := binary.BigEndian.Uint64(payload)
	return &generation
}

func reasonPayload(reason error) []byte {
	e := api.AsError(reason)
	short := &api.Error{Kind: e.Kind, Message: cut(e.Message, maxReason/4), Hint: cut(e.Hint, maxReason/16)}
	payload, err := json.Marshal(short)
	if err != nil || len(payload) > maxReason { // control characters grow sixfold
		payload = []byte(`{"kind":"internal","message":"the stream was reset"}`)
	}
	return payload
}

func parseReason(payload []byte) error {
	var e api.Error
	if err := json.Unmarshal(payload, &e); err != nil || e.Message == "" {
		return api.Errorf(api.KindInternal, "the stream was reset")
	}
	return &e
}

func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return s[:limit] + "…"
}
