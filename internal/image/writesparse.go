package image

import (
	"bytes"
	"io"
	"os"
)

// sparseBlock is the unit of holes.
const sparseBlock = 4096

var zeroBlock [sparseBlock]byte

// writeSparse writes content, with holes for blocks of zeros.
func (t *hostTree) writeSparse(f *os.File, content io.Reader) error {
	var size int64
	for {
		n, err := io.ReadFull(content, t.buffer)
		if err := writeData(f, size, t.buffer[:n]); err != nil {
			return err
		}
		size += int64(n)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return finishFile(f, size)
		}
		if err != nil {
			return err
		}
	}
}

// writeData writes p at an offset, in as few pieces as its blocks of zeros allow.
func writeData(f *os.File, offset int64, p []byte) error {
	start := 0
	flush := func(end int) error {
		if start == end {
			return nil
		}
		_, err := f.WriteAt(p[start:end], offset+int64(start))
		return err
	}
	for at := 0; at < len(p); at += sparseBlock {
		block := p[at:min(at+sparseBlock, len(p))]
		if !bytes.Equal(block, zeroBlock[:len(block)]) {
			continue
		}
		if err := flush(at); err != nil {
			return err
		}
		start = at + len(block)
	}
	return flush(len(p))
}

// finishFile gives a file that may end in a hole its size.
func finishFile(f *os.File, size int64) error {
	info, err := f.Stat()
	if err != nil || info.Size() == size {
		return err
	}
	return f.Truncate(size)
}
