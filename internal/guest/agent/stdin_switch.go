package agent

import (
	"errors"
	"io"
	"sync"

	"banger/internal/guest/stdio"
)

// stdinSwitch is a command's standard input, which reads from its current client.
type stdinSwitch struct {
	mu      sync.Mutex
	changed *sync.Cond
	in      *stdio.In
	over    bool // a client has ended the input
	closed  bool // the command reads no more
	total   int64
}

func newStdinSwitch() *stdinSwitch {
	i := &stdinSwitch{}
	i.changed = sync.NewCond(&i.mu)
	return i
}

// Read reads what clients write. The end of a client is not the end of the input.
func (i *stdinSwitch) Read(p []byte) (int, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for {
		switch {
		case i.closed:
			return 0, io.ErrClosedPipe
		case i.over:
			return 0, io.EOF
		case i.in == nil:
			i.changed.Wait()
			continue
		}
		in := i.in
		i.mu.Unlock()
		n, err := in.Read(p)
		i.mu.Lock()
		i.total += int64(n)
		switch {
		case n > 0:
			return n, nil
		case errors.Is(err, io.EOF):
			i.over = true
		case i.in == in:
			i.in = nil
		}
	}
}

// attach makes in the source.
func (i *stdinSwitch) attach(in *stdio.In) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.in = in
	if i.closed {
		in.Close()
	}
	i.changed.Broadcast()
}

// release removes the source.
func (i *stdinSwitch) release(in *stdio.In) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.in == in {
		i.in = nil
	}
	in.Close()
}

// end ends the input.
func (i *stdinSwitch) end() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.over = true
	i.changed.Broadcast()
}

// Close stops reading: the command reads no more.
func (i *stdinSwitch) Close() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closed = true
	if i.in != nil {
		i.in.Close()
	}
	i.changed.Broadcast()
	return nil
}

func (i *stdinSwitch) count() int64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.total
}
