package filecopy

import (
	"bytes"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// extent is a part of a file that is not a hole.
type extent struct{ from, to int64 }

// nextExtent finds the first data at or after from and before size (lseek(2)). ok is
// false if only a hole follows. On a file system without holes everything is data.
func nextExtent(f *os.File, from, size int64) (e extent, ok bool, err error) {
	fd := int(f.Fd())
	data, err := unix.Seek(fd, from, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return extent{}, false, nil
	case errors.Is(err, unix.EINVAL):
		return extent{from, size}, from < size, nil
	case err != nil:
		return extent{}, false, os.NewSyscallError("lseek", err)
	}
	if data >= size {
		return extent{}, false, nil
	}
	hole, err := unix.Seek(fd, data, unix.SEEK_HOLE)
	if errors.Is(err, unix.ENXIO) {
		return extent{}, false, nil // it became shorter: the reader sees it too
	}
	if err != nil {
		return extent{}, false, os.NewSyscallError("lseek", err)
	}
	return extent{data, min(hole, size)}, true, nil
}

// eachPart calls fn for the data of f in [from, size), in pieces of at most len(buf).
// It skips holes.
func eachPart(f *os.File, from, size int64, buf []byte, fn func(offset int64, data []byte) error) error {
	for at := from; at < size; {
		e, ok, err := nextExtent(f, at, size)
		if err != nil || !ok {
			return err
		}
		for at = e.from; at < e.to; {
			n, err := f.ReadAt(buf[:min(int64(len(buf)), e.to-at)], at)
			if n == 0 {
				if errors.Is(err, io.EOF) {
					return errShorter
				}
				return err
			}
			if err := fn(at, buf[:n]); err != nil {
				return err
			}
			at += int64(n)
		}
	}
	return nil
}

var errShorter = errors.New("it became shorter while it was read")

var zeros [sumBlock]byte

// allZero examines at most sumBlock bytes.
func allZero(b []byte) bool { return bytes.Equal(b, zeros[:len(b)]) }
