package stream

// ring is a queue of bytes that uses memory only while it is not empty.
type ring struct {
	buf  []byte // its length is a power of two, or zero
	head int
	size int
}

// smallRing is the size, in bytes, of the buffer that an empty ring may keep: interactive
// traffic then allocates nothing.
const smallRing = 4 << 10

func (r *ring) len() int { return r.size }

// push appends p.
func (r *ring) push(p []byte) {
	r.grow(r.size + len(p))
	at := (r.head + r.size) & (len(r.buf) - 1)
	n := copy(r.buf[at:], p)
	copy(r.buf, p[n:])
	r.size += len(p)
}

func (r *ring) grow(need int) {
	if need <= len(r.buf) {
		return
	}
	size := max(len(r.buf), 512)
	for size < need {
		size *= 2
	}
	buf := make([]byte, size)
	r.peek(buf[:r.size], 0)
	r.buf, r.head = buf, 0
}

// peek copies into p the bytes from offset on, counted from the front.
func (r *ring) peek(p []byte, offset int) int {
	p = p[:min(len(p), r.size-offset)]
	if len(p) == 0 {
		return 0
	}
	at := (r.head + offset) & (len(r.buf) - 1)
	n := copy(p, r.buf[at:])
	copy(p[n:], r.buf)
	return len(p)
}

// drop removes n bytes from the front.
func (r *ring) drop(n int) {
	if n == 0 {
		return
	}
	r.head = (r.head + n) & (len(r.buf) - 1)
	r.size -= n
	if r.size == 0 {
		r.head = 0
		if len(r.buf) > smallRing {
			r.buf = nil
		}
	}
}
