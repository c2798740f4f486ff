package console

import (
	"context"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"banger/internal/host/fsx"
)

// Follow writes a log to w from an offset on, and everything that is added to it, until
// ctx ends. What the log contains by then is still written, so that a caller who ends
// ctx when the machine has ended shows everything. It fails if w fails. An offset in
// the freed part means the first stored byte; a negative one is counted from the end.
func Follow(ctx context.Context, path string, from int64, w io.Writer) error {
	f, err := open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	events, err := fsx.NewWatcher()
	if err != nil {
		return cannotWatch(err)
	}
	defer events.Close()
	if _, err := events.Add(path, unix.IN_MODIFY); err != nil {
		return fmt.Errorf("cannot watch %s: %w", path, err)
	}
	at, err := startAt(f, from)
	if err != nil {
		return err
	}
	for {
		last := ctx.Err() != nil
		if at, err = drain(f, at, w); err != nil || last {
			return err
		}
		if err := events.Wait(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

func startAt(f *os.File, from int64) (int64, error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	if from < 0 {
		from += size
	}
	first, err := firstByte(f)
	return min(max(from, first), size), err
}

// drainStep is how many bytes are written between two checks for freed parts.
const drainStep = 64 << 10

// drain writes what is stored from offset at on and returns the new offset. If the log
// became shorter, it was rewritten, and drain starts from its beginning.
func drain(f *os.File, at int64, w io.Writer) (int64, error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return at, err
	}
	if size < at {
		at = 0
	}
	for at < size {
		first, err := firstByte(f)
		if err != nil {
			return at, err
		}
		at = max(at, first)
		n, err := io.Copy(w, io.NewSectionReader(f, at, min(drainStep, max(0, size-at))))
		at += n
		if err != nil || n == 0 {
			return at, err
		}
	}
	return at, nil
}
