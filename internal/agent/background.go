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
	// heldChunk is read at a time, and heldPause lies between: who writes for ever is
	// held back, and costs next to nothing.
	heldChunk = 16 << 10
	heldPause = 5 * time.Millisecond
)

// keepOpen takes over the pipes of a command that has ended, where it has left
// something in the background that writes to them: that would be killed at its next
// word (SIGPIPE, pipe(7)). A terminal is closed, as everywhere.
func (s *server) keepOpen(p *process) {
	for id, file := range p.outs {
		if p.held[id] && file != p.stdin && s.hold() {
			delete(p.outs, id)
			s.work.Go(func() { s.discard(file) })
		}
	}
}

// discard reads a pipe for nobody, until those that write to it, or the guest, end.
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

// hold counts a pipe that is kept open; it returns false where there are too many.
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
