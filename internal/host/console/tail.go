package console

import (
	"bytes"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Tail returns the last lines of a log, unmodified, and at most Keep bytes. A missing
// log counts as empty.
func Tail(path string, lines int) ([]byte, error) {
	f, err := open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	start, err := firstByte(f)
	if err != nil {
		return nil, err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	start = max(start, size-Keep)
	data := make([]byte, max(0, size-start))
	n, err := f.ReadAt(data, start)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return lastLines(data[:n], lines), nil
}

// open opens a log for reading. The guest decides its content, not its type;
// nevertheless a log that is not a file must not block.
func open(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
}

// lastLines returns the last lines of data. An unfinished last line counts.
func lastLines(data []byte, lines int) []byte {
	if lines <= 0 {
		return nil
	}
	at := len(bytes.TrimSuffix(data, []byte("\n")))
	for range lines {
		at = bytes.LastIndexByte(data[:at], '\n')
		if at < 0 {
			return data
		}
	}
	return data[at+1:]
}
