package agent

import (
	"errors"
	"io"
	"sync"

	"banger/internal/stdio"
)

// inlet is a command's standard input, from whoever is its client now.
type inlet struct {
	mu      sync.Mutex
	changed *sync.Cond
	in      *stdio.In
	over    bool // a client has said that nothing more comes
	closed  bool // the command takes nothing more
	total   int64
}

func newInlet() *inlet {
	i := &inlet{}
	i.changed = sync.NewCond(&i.mu)
	return i
}

// Read reads what clients write; that one is gone is not the end.
func (i *inlet) Read(p []byte) (int, error) {
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
func (i *inlet) attach(in *stdio.In) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.in = in
	if i.closed {
		in.Close()
	}
	i.changed.Broadcast()
}

// release takes the source away.
func (i *inlet) release(in *stdio.In) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.in == in {
		i.in = nil
	}
	in.Close()
}

// end says that nothing will ever come.
func (i *inlet) end() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.over = true
	i.changed.Broadcast()
}

// Close says that the command takes nothing more.
func (i *inlet) Close() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closed = true
	if i.in != nil {
		i.in.Close()
	}
	i.changed.Broadcast()
	return nil
}

func (i *inlet) count() int64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.total
}
