package fsx

import (
	"bytes"
	"os"
)

// HoleBytes is the unit of holes in files, in bytes.
const HoleBytes = 4096

var zeroBlock [HoleBytes]byte

// WriteSparse writes p at an offset, in as few pieces as possible without its blocks of
// zeros, which stay holes. If p ends with one, the file is still too short.
func WriteSparse(f *os.File, offset int64, p []byte) error {
	start := 0
	flush := func(end int) error {
		if start == end {
			return nil
		}
		_, err := f.WriteAt(p[start:end], offset+int64(start))
		return err
	}
	for at := 0; at < len(p); at += HoleBytes {
		block := p[at:min(at+HoleBytes, len(p))]
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
