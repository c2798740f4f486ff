// Package transport has the devices by which the agent in a guest talks to the host: a virtio-serial
// port or a vsock port.
package transport

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"banger/internal/guest/agentproto"
)

// errPortClosed ends reads and writes of a port that is closed.
var errPortClosed = errors.New("the port is closed")

// Port is the guest's virtio-serial port. It is never closed, because closing a port discards the
// data that waits in it.
type Port struct{ file *os.File }

// OpenPort opens a port's device, such as /dev/vport0p1.
func OpenPort(path string) (*Port, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return &Port{f}, nil
}

// Close closes the device.
func (p *Port) Close() error { return p.file.Close() }

// Accept returns the channel at once: its first Read waits for the host.
func (p *Port) Accept(ctx context.Context) (agentproto.Conn, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err := p.file.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	return &portConn{file: p.file}, nil
}

// portConn is the port from one greeting on until the host disconnects.
type portConn struct {
	file  *os.File
	heard bool // data was read: the host is connected

	mu     sync.Mutex
	closed bool
}

// Read reads what the host sends. While no host is connected read(2) returns 0
// and poll(2) reports POLLHUP all the time (drivers/char/virtio_console.c), so
// waiting must go by edges. The runtime's poller is edge-triggered: it wakes when
// the host connects or sends, not while it is away. The end of a connection is
// io.EOF once; then Read waits for the next one.
func (c *portConn) Read(b []byte) (int, error) {
	raw, err := c.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	var n int
	var readErr error
	err = raw.Read(func(fd uintptr) bool {
		for {
			n, readErr = syscall.Read(int(fd), b)
			if readErr != syscall.EINTR {
				break
			}
		}
		if readErr == syscall.EAGAIN || n == 0 && readErr == nil && !c.heard {
			return false
		}
		return true
	})
	switch {
	case err != nil:
		return 0, err
	case readErr != nil:
		return 0, os.NewSyscallError("read", readErr)
	case n == 0:
		c.heard = false
		return 0, io.EOF
	}
	c.heard = true
	return n, nil
}

// Write writes to the host. While none is connected it waits.
func (c *portConn) Write(b []byte) (int, error) { return c.file.Write(b) }

// SetDeadline bounds reads and writes under way.
func (c *portConn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errPortClosed
	}
	return c.file.SetDeadline(t)
}

// Close ends reads and writes under way; the port stays open.
func (c *portConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	return c.file.SetDeadline(time.Unix(1, 0))
}
