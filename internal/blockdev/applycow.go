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

// longestRun is how much is copied at once.
const longestRun = 256 * chunkSize

// exceptions are chunks of the base that follow one another in the copy-on-write
// file too: where they belong, and where they are.
type exceptions struct{ old, new, count int64 }

// ApplyCow writes to a copy of the base, of size bytes, what a copy-on-write file
// that no device uses has instead of it. A file that was never written has nothing,
// and one that the kernel declared invalid is as good as any (revive).
func ApplyCow(ctx context.Context, to, cow *os.File, size int64) error {
	if h, err := readHeader(cow); err != nil || h.isNew() {
		return err
	}
	buffer := make([]byte, longestRun)
	return eachRun(ctx, cow, func(run exceptions) error {
		if chunks := (size + chunkSize - 1) / chunkSize; run.old < 0 || run.old >= chunks || run.new < 0 || run.new > math.MaxInt64/chunkSize {
			return api.Errorf(api.KindInternal, "%s has chunk %d at %d, and the disk has %d chunks", cow.Name(), run.old, run.new, chunks)
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

// eachRun calls do with all exceptions, in as few runs as there are: a guest writes
// mostly in order, and the kernel takes the next free chunk.
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
			if new == 0 { // it is the header's: here the list ends
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
		if err != nil { // the file ends, and every area is full
			return flush()
		}
	}
}
