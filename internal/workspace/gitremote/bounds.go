package gitremote

import (
	"bytes"
	"io"
	"sync"

	"banger/api"
	"banger/internal/size"
)

// Default bounds of what one connection brings from a guest.
const (
	// MaxNames is enough for half a million references. Git holds all of them in memory.
	MaxNames = 64 << 20
	// MaxTotal is four times what an import of files takes (incoming.Limits).
	MaxTotal = 16 << 30
	// roomEvery is after how many bytes the disk is looked at again.
	roomEvery = 64 << 20
)

// Bounds ends a connection to a service that sends without end: git itself takes whatever comes,
// names into memory and objects onto the disk.
type Bounds struct {
	Names int64 // bytes until git asks for objects
	Total int64 // bytes in all
	// Room, unless nil, is asked now and then whether there is room for more.
	Room func() error

	mu    sync.Mutex
	asked bool // for objects
	tail  []byte
	came  int64
	next  int64 // when Room is asked
	err   error
}

// Requests passes on what git says, to see when it asks for objects.
func (b *Bounds) Requests(r io.Reader) io.Reader { return requests{b, r} }

// Answers passes on what the service says, as long as it is within the bounds.
func (b *Bounds) Answers(w io.Writer) io.Writer { return answers{b, w} }

// Err is why the connection was ended, or nil.
func (b *Bounds) Err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

type requests struct {
	b *Bounds
	r io.Reader
}

// want is how a request for objects begins, in all versions of the protocol
// (gitprotocol-pack(5), gitprotocol-v2(5)). A name of a reference has no space.
var want = []byte("want ")

func (r requests) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.b.mu.Lock()
	defer r.b.mu.Unlock()
	if !r.b.asked && n > 0 {
		seen := append(r.b.tail, p[:n]...)
		r.b.asked = bytes.Contains(seen, want)
		r.b.tail = bytes.Clone(seen[max(0, len(seen)-len(want)+1):])
	}
	return n, err
}

type answers struct {
	b *Bounds
	w io.Writer
}

func (a answers) Write(p []byte) (int, error) {
	if err := a.b.take(int64(len(p))); err != nil {
		return 0, err
	}
	return a.w.Write(p)
}

func (b *Bounds) take(n int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	b.came += n
	if b.next == 0 {
		b.next = roomEvery
	}
	switch {
	case !b.asked && b.came > b.Names:
		b.err = api.Errorf(api.KindInvalid, "the VM's repository has too many branches and tags: the list of their names is longer than %s", size.Format(b.Names)).
			WithHint("remove some there")
	case b.came > b.Total:
		b.err = api.Errorf(api.KindInvalid, "the VM has sent more than %s", size.Format(b.Total)).
			WithHint("if that is as you expect: %s=64G in the environment allows more", LimitVariable)
	case b.came >= b.next && b.Room != nil:
		b.next = b.came + roomEvery
		b.err = b.Room()
	}
	return b.err
}

// LimitVariable is the variable of the environment with another limit than MaxTotal.
const LimitVariable = "BANGER_FETCH_LIMIT"

// LimitOf reads the limit from the value of LimitVariable.
func LimitOf(value string) (int64, error) {
	if value == "" {
		return MaxTotal, nil
	}
	n, err := size.Parse(value)
	if err != nil {
		return 0, api.Errorf(api.KindInvalid, "cannot use %s: %w", LimitVariable, err)
	}
	return n, nil
}
