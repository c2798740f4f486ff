// Package chunk lends buffers for what is on its way through this process. Whoever has
// nothing to move holds none: there may be a thousand connections that are silent.
package chunk

import "sync"

// Size is the longest buffer that is lent again, in bytes: the largest frame of the streams,
// 32 KiB, with its headers.
const Size = 32<<10 + 64

// small is what is made rather than lent, in bytes: the garbage collector is cheaper.
const small = 1 << 10

// pool is emptied by the garbage collector (sync.Pool).
var pool = sync.Pool{New: func() any { return new([Size]byte) }}

// Get returns a buffer of n bytes, whatever is in it.
func Get(n int) []byte {
	if n <= small || n > Size {
		return make([]byte, n)
	}
	return pool.Get().(*[Size]byte)[:n]
}

// Put gives back a buffer that Get returned, from its first byte on.
func Put(b []byte) {
	if cap(b) == Size {
		pool.Put((*[Size]byte)(b[:Size]))
	}
}
