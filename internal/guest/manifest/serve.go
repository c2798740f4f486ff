package manifest

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"

	"golang.org/x/sys/unix"
)

// The request is a list of paths: length, bytes. The answer has one part for each of them, in the
// same order, and no names: the agent cannot send anything else than what was requested.
//
//	refused: errno, or 0 if it is neither a file nor a link
//	link:    attributes, target
//	file:    attributes, (length, bytes)…, 0, ending, [errno], attributes
const (
	answerRefused = 0
	answerFile    = 1
	answerLink    = 2

	endingWhole   = 0 // all bytes that it had when it was opened
	endingCut     = 1 // these, and it has more
	endingShorter = 2 // it became shorter
	endingFailed  = 3 // an errno follows
)

// pieceSize is how many bytes of a content are read at once.
const pieceSize = 32 << 10

// Serve reads the paths of files below the directory dir from r, and writes their contents to w,
// for Receive.
func Serve(ctx context.Context, r io.Reader, w io.Writer, dir string) error {
	top, err := openRoot(dir)
	if err != nil {
		return err
	}
	defer top.Close()
	s := &server{root: top, in: newInput(r, math.MaxInt64, ErrCut), w: bufio.NewWriterSize(w, pieceSize), piece: make([]byte, pieceSize)}
	for ctx.Err() == nil {
		if s.in.r.Buffered() == 0 { // the next name may come late
			if err := s.w.Flush(); err != nil {
				return err
			}
		}
		if _, err := s.in.r.Peek(1); errors.Is(err, io.EOF) {
			return s.w.Flush()
		}
		name, err := s.in.text()
		if err != nil {
			return err
		}
		if err := s.answer(name); err != nil {
			return err
		}
	}
	return ctx.Err()
}

type server struct {
	root  root
	in    *input
	w     *bufio.Writer
	buf   []byte
	piece []byte
}

// open opens a path and describes it.
func (s *server) open(name string, flags uint64) (int, Entry, error) {
	fd, err := s.root.open(name, flags)
	if err != nil {
		return -1, Entry{}, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return -1, Entry{}, errors.Join(err, unix.Close(fd))
	}
	return fd, entryOf(name, &st), nil
}

// answer writes the answer for a path. It returns only errors of writing.
func (s *server) answer(name string) error {
	fd, e, err := s.open(name, unix.O_PATH)
	if err != nil {
		return s.refuse(err)
	}
	defer unix.Close(fd)
	switch e.Type {
	case Link:
		if e.Link, err = readlink(fd, ""); err != nil {
			return s.refuse(err)
		}
		b := new(deltas).appendTo(append(s.buf[:0], answerLink), e)
		return s.write(appendText(b, e.Link))
	case File:
		return s.file(name)
	}
	return s.refuse(nil)
}

// refuse writes the reason for a missing content; nil: only files and links have one.
func (s *server) refuse(err error) error {
	var errno unix.Errno
	errors.As(err, &errno)
	if isGone(err) {
		errno = unix.ENOENT
	}
	return s.write(binary.AppendUvarint(append(s.buf[:0], answerRefused), uint64(errno)))
}

// file writes a file, which may have been replaced by a pipe by now.
func (s *server) file(name string) error {
	fd, e, err := s.open(name, unix.O_RDONLY)
	if err != nil {
		return s.refuse(err)
	}
	defer unix.Close(fd)
	if e.Type != File {
		return s.refuse(nil)
	}
	if err := s.write(new(deltas).appendTo(append(s.buf[:0], answerFile), e)); err != nil {
		return err
	}
	return s.rest(fd, e)
}

// rest writes what follows the attributes that an open file had.
func (s *server) rest(fd int, e Entry) error {
	ending, errno, err := s.content(fd, e.Size)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if failed := unix.Fstat(fd, &st); failed != nil && ending != endingFailed {
		ending = endingFailed
		errors.As(failed, &errno)
	}
	b := append(s.buf[:0], 0, ending)
	if ending == endingFailed {
		b = binary.AppendUvarint(b, uint64(errno))
	}
	return s.write(new(deltas).appendTo(b, entryOf(e.Path, &st)))
}

// content writes the first size bytes of a file, and says how that ended. Files such as those of
// /proc have more bytes than their size; such a file, or one that grows, might not end.
func (s *server) content(fd int, size int64) (ending byte, errno unix.Errno, err error) {
	for size > 0 {
		n, failed := read(fd, s.piece[:min(size, pieceSize)])
		if failed != nil {
			errors.As(failed, &errno)
			return endingFailed, errno, nil
		}
		if n == 0 {
			return endingShorter, 0, nil
		}
		if err := s.write(binary.AppendUvarint(s.buf[:0], uint64(n))); err != nil {
			return 0, 0, err
		}
		if _, err := s.w.Write(s.piece[:n]); err != nil {
			return 0, 0, err
		}
		size -= int64(n)
	}
	if n, _ := read(fd, s.piece[:1]); n > 0 {
		return endingCut, 0, nil
	}
	return endingWhole, 0, nil
}

// read reads without os.File, which would wait for more of a file that says it can be polled.
func read(fd int, p []byte) (n int, err error) {
	for {
		n, err = unix.Read(fd, p)
		if !errors.Is(err, unix.EINTR) {
			return max(0, n), err
		}
	}
}

// write writes b, which is appended to buf[:0].
func (s *server) write(b []byte) error {
	s.buf = b
	_, err := s.w.Write(b)
	return err
}
