package rootfs

import (
	"io"
	"os"

	"banger/internal/host/fsx"
)

// writeSparse writes content, with holes for blocks of zeros.
func (t *hostTree) writeSparse(f *os.File, content io.Reader) error {
	var size int64
	for {
		n, err := io.ReadFull(content, t.buffer)
		if err := fsx.WriteSparse(f, size, t.buffer[:n]); err != nil {
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

// finishFile sets the size of a file that may end in a hole.
func finishFile(f *os.File, size int64) error {
	info, err := f.Stat()
	if err != nil || info.Size() == size {
		return err
	}
	return f.Truncate(size)
}
