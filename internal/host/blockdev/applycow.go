package blockdev

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"

	"banger/api"
)

// longestRun is how many bytes are copied at once.
const longestRun = 256 * chunkSize

// exceptions are consecutive chunks of the base that are consecutive in the
// copy-on-write file, too: their place in the base, and in the file.
type exceptions struct{ old, new, count int64 }

// ApplyCow writes the changes in a copy-on-write file, which no device may use, to a
// copy of the base of size bytes. A file that was never written contains none, and one
// that the kernel declared invalid is still usable (see revive).
func ApplyCow(ctx context.Context, to, cow *os.File, size int64) error {
	if h, err := readHeader(cow); err != nil || h.isNew() {
		return err
	}
	buffer := make([]byte, longestRun)
	return eachRun(ctx, cow, func(run exceptions) error {
		if chunks := (size + chunkSize - 1) / chunkSize; run.old < 0 || run.old >= chunks || run.new < 0 || run.new > math.MaxInt64/chunkSize {
			return api.Errorf(api.KindInternal, "%s has chunk %d at %d, but the disk has %d chunks", cow.Name(), run.old, run.new, chunks)
		}
		at := run.old * chunkSize
		n := min(run.count*chunkSize, size-at)
		if _, err := cow.ReadAt(buffer[:n], run.new*chunkSize); err != nil {
			return err
		}
		_, err := to.WriteAt(buffer[:n], at)
		return err
	})
}

// eachRun calls do with all exceptions, in as few runs as possible: a guest mostly
// writes in order, and the kernel takes the next free chunk.
func eachRun(ctx context.Context, cow io.ReaderAt, do func(exceptions) error) error {
	var run exceptions
	flush := func() error {
		if run.count == 0 {
			return nil
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		return do(run)
	}
	area := make([]byte, chunkSize)
	for at := int64(chunkSize); ; at += (1 + exceptionsPerArea) * chunkSize {
		n, err := cow.ReadAt(area, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		for rest := area[:n]; len(rest) >= exceptionSize; rest = rest[exceptionSize:] {
			old, new := int64(binary.LittleEndian.Uint64(rest)), int64(binary.LittleEndian.Uint64(rest[8:]))
			if new == 0 { // the header's chunk marks the end of the list
				return flush()
			}
			if run.count > 0 && run.count < longestRun/chunkSize && old == run.old+run.count && new == run.new+run.count {
				run.count++
				continue
			}
			if err := flush(); err != nil {
				return err
			}
			run = exceptions{old, new, 1}
		}
		if err != nil { // the file ends after a full area
			return flush()
		}
	}
}
