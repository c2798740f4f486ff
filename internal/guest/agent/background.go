package agent

import (
	"context"
	"os"
	"time"
)

const (
	// maxHeld is how many pipes of commands that have ended are kept open. One more is
	// closed, which kills what writes to it.
	maxHeld = 256
	// heldChunk bytes are read at a time, with heldPause between: a program that writes
	// forever is throttled, and costs almost nothing.
	heldChunk = 16 << 10
	heldPause = 5 * time.Millisecond
)

// keepOpen takes over the pipes of a command that has ended, if a background process of it
// still writes to them: otherwise its next write would kill it (SIGPIPE, pipe(7)). A terminal
// is closed, as usual.
func (s *server) keepOpen(p *process) {
	for id, file := range p.outs {
		if p.held[id] && file != p.stdin && s.hold() {
			delete(p.outs, id)
			s.work.Go(func() { s.discard(file) })
		}
	}
}

// discard reads and drops the data of a pipe, until its writers, or the guest, end.
func (s *server) discard(file *os.File) {
	defer s.unhold()
	defer file.Close()
	stop := context.AfterFunc(s.ctx, func() { file.Close() })
	defer stop()
	_ = file.SetReadDeadline(time.Time{})
	buf := make([]byte, heldChunk)
	for {
		if _, err := file.Read(buf); err != nil {
			return
		}
		time.Sleep(heldPause)
	}
}

// hold counts a pipe that is kept open; it returns false if there are too many.
func (s *server) hold() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held >= maxHeld {
		return false
	}
	s.held++
	return true
}

func (s *server) unhold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held--
}
