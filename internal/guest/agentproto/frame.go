package agentproto

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// The host and the agent share one byte channel that outlives the programs at both ends:
// after a daemon was killed, the rest of its last frame may still be in the channel when the
// next daemon's greeting follows. So no reader trusts its position. All data travels in
// frames that can be recognized anywhere:
//
//	0  4 bytes  magic
//	4  1 byte   type
//	5  1 byte   zero
//	6  2 bytes  payload length
//	8  8 bytes  session: the first half of the greeting's nonce
//	16 4 bytes  number of this data frame within its session and direction
//	20 4 bytes  CRC-32C of the payload
//	24 4 bytes  CRC-32C of the 24 bytes before
//
// The payload of data frames is XORed with the session number, so that user
// data that happens to look like a greeting (such as a recording of this channel) is never
// mistaken for one.
const (
	headerSize = 28
	// maxPayload keeps one frame below the size of a socket buffer and of a virtio-serial
	// queue (128 KiB).
	maxPayload = 32 << 10
)

type frameType byte

const (
	frameHello frameType = 1 // host: a new session
	frameAck   frameType = 2 // agent: the session is open
	frameData  frameType = 3 // either: bytes of the session
	frameReset frameType = 4 // agent: the session does not exist (any more)
)

var (
	magic      = [4]byte{0xb5, 'B', 'n', 'G'}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// frame is one frame as read; the payload is valid until the next read.
type frame struct {
	kind    frameType
	session uint64
	seq     uint32
	payload []byte
}

// appendFrame appends the encoded frame f to dst.
func appendFrame(dst []byte, f frame) []byte {
	at := len(dst)
	dst = append(dst, magic[:]...)
	dst = append(dst, byte(f.kind), 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(f.payload)))
	dst = binary.BigEndian.AppendUint64(dst, f.session)
	dst = binary.BigEndian.AppendUint32(dst, f.seq)
	dst = append(dst, make([]byte, 8)...)
	dst = append(dst, f.payload...)
	head, payload := dst[at:at+headerSize], dst[at+headerSize:]
	if f.kind == frameData {
		mask(payload, f.session)
	}
	binary.BigEndian.PutUint32(head[20:], crc32.Checksum(payload, castagnoli))
	binary.BigEndian.PutUint32(head[24:], crc32.Checksum(head[:24], castagnoli))
	return dst
}

// parseHeader reads a header; ok is false if there is none.
func parseHeader(b []byte) (f frame, length int, sum uint32, ok bool) {
	if len(b) < headerSize || !bytes.Equal(b[:4], magic[:]) ||
		crc32.Checksum(b[:24], castagnoli) != binary.BigEndian.Uint32(b[24:]) {
		return frame{}, 0, 0, false
	}
	f = frame{
		kind:    frameType(b[4]),
		session: binary.BigEndian.Uint64(b[8:]),
		seq:     binary.BigEndian.Uint32(b[16:]),
	}
	length = int(binary.BigEndian.Uint16(b[6:]))
	return f, length, binary.BigEndian.Uint32(b[20:]), length <= maxPayload
}

// parseFrame reads the frame at the start of b. size is 0 if b does not start with a frame,
// and otherwise the size of the whole frame; ok reports that the frame is complete and its
// checksums match. The payload is not unmasked.
func parseFrame(b []byte) (f frame, size int, ok bool) {
	f, length, sum, ok := parseHeader(b)
	if !ok {
		return frame{}, 0, false
	}
	size = headerSize + length
	if len(b) < size {
		return frame{}, size, false
	}
	f.payload = b[headerSize:size]
	if crc32.Checksum(f.payload, castagnoli) != sum {
		return frame{}, 0, false
	}
	return f, size, true
}

// mask XORs b with the repeated session number.
func mask(b []byte, session uint64) {
	var key [8]byte
	binary.BigEndian.PutUint64(key[:], session)
	word := binary.NativeEndian.Uint64(key[:])
	for len(b) >= 8 {
		binary.NativeEndian.PutUint64(b, binary.NativeEndian.Uint64(b)^word)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= key[i]
	}
}
