// Package relay copies the bytes of streams between clients and guests.
package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"

	"golang.org/x/sys/unix"

	"banger/internal/guest/chunk"
)

// Run copies bytes in both directions until both have ended, the client's
// connection is gone or ctx ends, and closes both connections. Either side may
// close its writing half alone. Nothing is buffered beyond one chunk in each
// direction: a reader that stops makes the writer wait. moved is called whenever
// bytes were copied.
func Run(ctx context.Context, client *net.UnixConn, early []byte, guest net.Conn, moved func()) {
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
			err = pump(guest, func() ([]byte, error) { return chunk.Read(client) }, moved)
		}
		if err == nil {
			err = closeWrite(guest)
		}
		close(ended)
		// From here on nothing is read from the client: only the kernel can report that it
		// has closed the connection completely.
		if err != nil || HungUp(client) {
			closeBoth()
		}
	})
	err := pump(client, (&source{r: guest}).read, moved)
	if err == nil {
		err = client.CloseWrite()
	}
	if err == nil {
		<-ended
	}
	closeBoth()
	up.Wait()
}

// pump copies what read returns, which are chunks, to dst.
func pump(dst io.Writer, read func() ([]byte, error), moved func()) error {
	for {
		buf, err := read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		moved()
		_, err = dst.Write(buf)
		chunk.Put(buf)
		if err != nil {
			return err
		}
	}
}

// piece is how much is read at once, in bytes.
const piece = 32 << 10

// source reads chunks of a reader whose data only Read announces: a small one
// while little data arrives, so that an idle stream costs no more.
type source struct {
	r    io.Reader
	much bool // the last one was full
}

func (s *source) read() ([]byte, error) {
	size := 512
	if s.much {
		size = piece
	}
	for {
		buf := chunk.Get(size)
		n, err := s.r.Read(buf)
		s.much = n == len(buf)
		if n > 0 {
			return buf[:n], nil
		}
		chunk.Put(buf)
		if err != nil {
			return nil, err
		}
	}
}

// closeWrite closes the writing half of a connection, or the whole connection if it has no halves.
func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// HungUp waits until the peer of a Unix socket has closed both directions, or
// c is closed here. The runtime's poller wakes it: a peer that closes its
// second half raises EPOLLHUP (poll(2)), which Go treats as readable.
func HungUp(c *net.UnixConn) bool {
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
