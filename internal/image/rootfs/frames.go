package rootfs

import (
	"bufio"
	"encoding/binary"
	"io"
)

// Several blobs are sent in one stream to the job that unpacks them, so that one
// process writes all of them. Each is sent as pieces of at most maxPiece bytes, each
// after its length, and ends with a length of zero. A blob without this end could not
// be read, or failed verification.
const maxPiece = 1 << 20

// frameWriter writes one blob.
type frameWriter struct{ w io.Writer }

func (f frameWriter) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		piece := p[:min(len(p), maxPiece)]
		if err := binary.Write(f.w, binary.BigEndian, uint32(len(piece))); err != nil {
			return written, err
		}
		n, err := f.w.Write(piece)
		written += n
		if err != nil {
			return written, err
		}
		p = p[n:]
	}
	return written, nil
}

// end ends the blob.
func (f frameWriter) end() error { return binary.Write(f.w, binary.BigEndian, uint32(0)) }

// frameReader reads one blob from the stream.
type frameReader struct {
	r    *bufio.Reader
	left uint32
	done bool
}

func (f *frameReader) Read(p []byte) (int, error) {
	if f.done || len(p) == 0 {
		return 0, io.EOF
	}
	if f.left == 0 {
		var length [4]byte
		if _, err := io.ReadFull(f.r, length[:]); err != nil {
			return 0, io.ErrUnexpectedEOF
		}
		f.left = binary.BigEndian.Uint32(length[:])
		if f.left == 0 {
			f.done = true
			return 0, io.EOF
		}
	}
	n, err := f.r.Read(p[:min(int64(len(p)), int64(f.left))])
	f.left -= uint32(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
