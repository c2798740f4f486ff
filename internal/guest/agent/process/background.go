package process

import (
	"context"
	"os"
	"sync"
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

// held are the pipes of programs that have ended, which are kept open for background processes that
// still write to them: otherwise their next write would kill them (SIGPIPE, pipe(7)).
type held struct {
	work sync.WaitGroup // one for each pipe

	mu    sync.Mutex
	count int
}

// keepOpen leaves the pipes of a program that has ended, and into which a background process of it may
// still write, to the runner. A terminal is closed, as usual.
func (p *Running) keepOpen() {
	r := p.command.runner
	for id, file := range p.outs {
		if p.open[id] && file != p.stdin && r.held.take(r.ctx, file) {
			delete(p.outs, id)
		}
	}
}

// take takes over a pipe and drops its data, until its writers, or ctx, end. It returns false if
// there are too many.
func (h *held) take(ctx context.Context, file *os.File) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.count >= maxHeld {
		return false
	}
	h.count++
	h.work.Go(func() {
		defer h.release()
		discard(ctx, file)
	})
	return true
}

func (h *held) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count--
}

// discard reads and drops the data of a pipe, until its writers, or ctx, end. It closes the pipe.
func discard(ctx context.Context, file *os.File) {
	defer file.Close()
	stop := context.AfterFunc(ctx, func() { file.Close() })
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
