package agent

import (
	"bytes"
	"io"
	"sync"
	"time"

	"banger/internal/guest/stdio"
)

const (
	// bufferAhead is how many bytes of a command's output are read ahead of its client; beyond
	// that the command waits.
	bufferAhead = 32 << 10
	// bufferKept is how many bytes of each stream are buffered without a client: then the
	// command does not wait, and the oldest output is dropped.
	bufferKept = 256 << 10
)

// outputBuffer buffers an output stream of a command for its current reader.
type outputBuffer struct {
	mu      sync.Mutex
	changed *sync.Cond
	data    []byte
	dropped int64
	total   int64
	over    bool // the command writes no more
	closed  bool // nobody will read it
	out     *stdio.Out
	keep    bool          // output that out does not read is kept for another reader
	moving  bool          // from one client to the next, which gets all output: the command waits
	busy    bool          // a write to out is in progress
	flushed chan struct{} // closed once out has received everything
}

func newOutputBuffer() *outputBuffer {
	s := &outputBuffer{}
	s.changed = sync.NewCond(&s.mu)
	return s
}

// Write stores the command's output.
func (s *outputBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for written := 0; written < len(p); {
		for !s.closed && s.waits() && len(s.data) >= bufferAhead {
			s.changed.Wait()
		}
		if s.closed {
			return written, io.ErrClosedPipe
		}
		n := len(p) - written
		if s.waits() {
			n = min(n, bufferAhead-len(s.data))
		}
		s.data = append(s.data, p[written:written+n]...)
		written += n
		s.total += int64(n)
		if len(s.data) > bufferKept+bufferKept/4 { // not at every write: it moves all remaining data
			s.trim()
		}
		s.changed.Broadcast()
	}
	return len(p), nil
}

// waits reports whether a reader has to receive every byte.
func (s *outputBuffer) waits() bool { return s.out != nil || s.moving }

// trim drops the oldest lines of output without a reader.
func (s *outputBuffer) trim() {
	over := len(s.data) - bufferKept
	if s.waits() || over <= 0 {
		return
	}
	if end := bytes.IndexByte(s.data[over:min(len(s.data), over+bufferAhead)], '\n'); end >= 0 {
		over += end + 1
	}
	s.dropped += int64(over)
	s.data = append(s.data[:0], s.data[over:]...)
}

// Close marks the end of the command's output.
func (s *outputBuffer) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	s.changed.Broadcast()
	return nil
}

// shut discards the buffer with its content.
func (s *outputBuffer) shut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed, s.data = true, nil
	s.changed.Broadcast()
}

// pump sends output to the client until the buffer is shut.
func (s *outputBuffer) pump() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closed {
		switch {
		case s.out != nil && len(s.data) > 0:
			s.hand()
		case s.out != nil && s.over && s.flushed != nil:
			s.finish()
		default:
			s.changed.Wait()
		}
	}
}

// hand writes some of the data to the client; unwritten data is returned to the buffer.
func (s *outputBuffer) hand() {
	out, part := s.out, s.data[:min(len(s.data), bufferAhead)]
	if s.data = s.data[len(part):]; len(s.data) == 0 {
		s.data = nil
	}
	s.busy = true
	s.changed.Broadcast()
	s.mu.Unlock()
	n, err := out.Write(part)
	s.mu.Lock()
	s.busy = false
	if err != nil {
		s.data = append(bytes.Clone(part[n:]), s.data...)
		if s.out == out {
			s.out = nil // the caller learns of the disconnect through release
		}
		s.trim()
	}
	s.changed.Broadcast()
}

// finish sends the end of the output to the client. If unread output is kept, the client has to read
// everything first: a client that is gone never confirms that.
func (s *outputBuffer) finish() {
	out, flushed, end := s.out, s.flushed, s.out.Close
	if s.keep {
		end = out.Finish
	}
	s.flushed = nil
	s.busy = true
	s.mu.Unlock()
	_ = end() // fails if the client is gone
	s.mu.Lock()
	s.busy = false
	close(flushed)
	s.changed.Broadcast()
}

// attach makes out the reader, and returns a channel that is closed once out has everything. With
// keep, output that out has not read waits for another reader.
func (s *outputBuffer) attach(out *stdio.Out, keep bool) <-chan struct{} {
	out.Keep()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out, s.keep, s.moving, s.flushed = out, keep, false, make(chan struct{})
	s.changed.Broadcast()
	return s.flushed
}

// prependMessage inserts a message of the agent before the output for the next reader. If that one
// does not read it, it waits for another.
func (s *outputBuffer) prependMessage(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data = append([]byte(text), s.data...)
}

// lost returns how many bytes were dropped since its last call.
func (s *outputBuffer) lost() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trim()
	n := s.dropped
	s.dropped = 0
	return n
}

// release removes the reader out, which has the time grace to read what was sent; unread output is
// returned to the buffer. cut ends writes to out that hang. next reports that another reader
// follows.
func (s *outputBuffer) release(out *stdio.Out, grace time.Duration, next bool, cut func()) {
	s.mu.Lock()
	if s.out == out {
		s.out = nil
	}
	s.moving, s.flushed = grace > 0, nil
	s.mu.Unlock()
	out.Settle(grace)
	out.Abort()
	if len(out.Unread()) > 0 {
		cut()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy {
		late := time.AfterFunc(grace, cut)
		defer late.Stop()
	}
	for s.busy {
		s.changed.Wait()
	}
	s.data = append(out.Unread(), s.data...)
	s.moving = next
	s.trim()
	s.changed.Broadcast()
}

func (s *outputBuffer) count() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}
