package agent

import (
	"bytes"
	"io"
	"sync"
	"time"

	"banger/internal/stdio"
)

const (
	// spoolAhead is how much of a command's output is read ahead of its client, who
	// makes the command wait beyond it.
	spoolAhead = 32 << 10
	// spoolKept is how much of each stream is kept while there is no client: then the
	// command does not wait, and the oldest is dropped.
	spoolKept = 256 << 10
)

// spool is an output stream of a command on its way to whoever reads it now.
type spool struct {
	mu      sync.Mutex
	changed *sync.Cond
	data    []byte
	dropped int64
	total   int64
	over    bool // nothing more comes
	closed  bool // nobody is to read it
	out     *stdio.Out
	keep    bool          // what out does not read is kept for another
	moving  bool          // from one client to the next, who gets all of it: the command waits
	busy    bool          // a write to out is under way
	flushed chan struct{} // closed once out has everything
}

func newSpool() *spool {
	s := &spool{}
	s.changed = sync.NewCond(&s.mu)
	return s
}

// Write takes what the command writes.
func (s *spool) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for written := 0; written < len(p); {
		for !s.closed && s.waits() && len(s.data) >= spoolAhead {
			s.changed.Wait()
		}
		if s.closed {
			return written, io.ErrClosedPipe
		}
		n := len(p) - written
		if s.waits() {
			n = min(n, spoolAhead-len(s.data))
		}
		s.data = append(s.data, p[written:written+n]...)
		written += n
		s.total += int64(n)
		if len(s.data) > spoolKept+spoolKept/4 { // not at every write: it moves all that stays
			s.trim()
		}
		s.changed.Broadcast()
	}
	return len(p), nil
}

// waits says whether somebody is to have every byte.
func (s *spool) waits() bool { return s.out != nil || s.moving }

// trim drops the oldest lines of what nobody reads.
func (s *spool) trim() {
	over := len(s.data) - spoolKept
	if s.waits() || over <= 0 {
		return
	}
	if end := bytes.IndexByte(s.data[over:min(len(s.data), over+spoolAhead)], '\n'); end >= 0 {
		over += end + 1
	}
	s.dropped += int64(over)
	s.data = append(s.data[:0], s.data[over:]...)
}

// Close says that the command writes nothing more.
func (s *spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	s.changed.Broadcast()
	return nil
}

// shut ends the spool, whatever is in it.
func (s *spool) shut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed, s.data = true, nil
	s.changed.Broadcast()
}

// pump hands over to the client until the spool is shut.
func (s *spool) pump() {
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

// hand writes some of the data to the client; what did not go comes back.
func (s *spool) hand() {
	out, part := s.out, s.data[:min(len(s.data), spoolAhead)]
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
			s.out = nil // that it is gone is told soon
		}
		s.trim()
	}
	s.changed.Broadcast()
}

// finish tells the client that nothing more comes. Where its output is kept it has
// to read everything first: if it is gone, it never says so.
func (s *spool) finish() {
	out, flushed, end := s.out, s.flushed, s.out.Close
	if s.keep {
		end = out.Finish
	}
	s.flushed = nil
	s.busy = true
	s.mu.Unlock()
	_ = end() // fails where the client is gone
	s.mu.Lock()
	s.busy = false
	close(flushed)
	s.changed.Broadcast()
}

// attach makes out the reader and returns what is closed once it has everything.
// With keep it has what it has read, and the rest waits for another.
func (s *spool) attach(out *stdio.Out, keep bool) <-chan struct{} {
	out.Keep()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out, s.keep, s.moving, s.flushed = out, keep, false, make(chan struct{})
	s.changed.Broadcast()
	return s.flushed
}

// tell puts a word of ours before what waits for the next reader: if that one does not
// read it, it waits for another.
func (s *spool) tell(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data = append([]byte(text), s.data...)
}

// lost returns how much was dropped since it was last asked.
func (s *spool) lost() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trim()
	n := s.dropped
	s.dropped = 0
	return n
}

// release takes the spool from its reader out, who has as long as grace to read
// what was sent; what was not read comes back. cut ends writes to out that hang.
// With next there is another reader to come.
func (s *spool) release(out *stdio.Out, grace time.Duration, next bool, cut func()) {
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

func (s *spool) count() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}
