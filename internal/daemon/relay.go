package daemon

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"

	"golang.org/x/sys/unix"
)

// relayBuffer is big enough that a copy of a large file is bound by the
// virtio-serial port rather than by system calls.
const relayBuffer = 64 << 10

// buffers are shared by all streams: an idle daemon holds none, because a
// sync.Pool is emptied by the garbage collector.
type buffers struct{ pool sync.Pool }

func (b *buffers) get() *[relayBuffer]byte {
	if p, ok := b.pool.Get().(*[relayBuffer]byte); ok {
		return p
	}
	return new([relayBuffer]byte)
}

func (b *buffers) put(p *[relayBuffer]byte) { b.pool.Put(p) }

// relay copies bytes both ways until both directions have ended, the client's
// connection is gone or ctx ends, and closes both connections. Either side may
// close its writing half alone. Nothing is buffered beyond one relayBuffer in
// each direction: a reader that stops makes the writer wait.
func relay(ctx context.Context, pool *buffers, client *net.UnixConn, early []byte, guest net.Conn) {
	var once sync.Once
	closeBoth := func() {
		once.Do(func() {
			client.Close()
			guest.Close()
		})
	}
	defer closeBoth()
	defer context.AfterFunc(ctx, closeBoth)()

	ended := make(chan struct{}) // the client sends no more
	var up sync.WaitGroup
	up.Go(func() {
		_, err := guest.Write(early)
		if err == nil {
			err = pump(pool, guest, client)
		}
		if err == nil {
			err = closeWrite(guest)
		}
		close(ended)
		// From here on nothing is read from the client: only the kernel can say
		// that it has gone altogether.
		if err != nil || hungUp(client) {
			closeBoth()
		}
	})
	err := pump(pool, client, guest)
	if err == nil {
		err = client.CloseWrite()
	}
	if err == nil {
		<-ended
	}
	closeBoth()
	up.Wait()
}

// pump copies from src to dst until src ends.
func pump(pool *buffers, dst io.Writer, src io.Reader) error {
	buf := pool.get()
	defer pool.put(buf)
	for {
		n, err := src.Read(buf[:])
		if n > 0 {
			if _, err := dst.Write(buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// closeWrite closes the writing half of a connection, or all of it where it
// has no halves.
func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// hungUp waits until the peer of a Unix socket has closed both directions, or
// c is closed here. The runtime's poller wakes it: a peer that closes its
// second half raises EPOLLHUP (poll(2)), which Go treats as readable.
func hungUp(c *net.UnixConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	err = raw.Read(func(fd uintptr) bool {
		state := []unix.PollFd{{Fd: int32(fd)}}
		n, err := unix.Poll(state, 0)
		return err == nil && n > 0 && state[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0 || err != nil && err != unix.EINTR
	})
	return err == nil
}
