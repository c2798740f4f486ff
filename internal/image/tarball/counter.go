package tarball

import (
	"io"
	"sync/atomic"
	"time"
)

// Counter reports how many bytes were read, at most ten times a second.
type Counter struct {
	r      io.Reader
	report func(int64)
	n      atomic.Int64
	last   time.Time
}

// NewCounter counts what is read of r, and reports it.
func NewCounter(r io.Reader, report func(int64)) *Counter { return &Counter{r: r, report: report} }

// Bytes returns how many bytes were read. It may be called at any time.
func (c *Counter) Bytes() int64 { return c.n.Load() }

func (c *Counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	if now := time.Now(); now.Sub(c.last) > 100*time.Millisecond {
		c.last = now
		c.report(c.n.Load())
	}
	return n, err
}

// Source remembers errors of an archive, to distinguish them from the disk's.
type Source struct {
	R   io.Reader
	Err error
}

func (s *Source) Read(p []byte) (int, error) {
	n, err := s.R.Read(p)
	if err != nil && err != io.EOF {
		s.Err = err
	}
	return n, err
}
