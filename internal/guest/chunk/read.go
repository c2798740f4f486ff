package chunk

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// readSize is how much is read at once, in bytes: what a frame of a session takes.
const readSize = 32 << 10

// Read waits for something on conn and returns it. It takes a buffer, which the caller gives
// back, only when there is something. At the end it returns io.EOF; other errors are those of
// conn.Read.
func Read(conn net.Conn) ([]byte, error) {
	socket, ok := conn.(syscall.Conn)
	if !ok { // not the system's, as in tests
		buf := Get(readSize)
		n, err := conn.Read(buf)
		if n == 0 {
			Put(buf)
			return nil, err
		}
		return buf[:n], nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	var buf []byte
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		buf, failed = readSome(int(fd))
		return !errors.Is(failed, unix.EAGAIN)
	})
	switch {
	case err != nil:
		return nil, err
	case errors.Is(failed, io.EOF):
		return nil, io.EOF
	case failed != nil:
		return nil, &net.OpError{
			Op: "read", Net: conn.LocalAddr().Network(), Source: conn.LocalAddr(), Addr: conn.RemoteAddr(),
			Err: os.NewSyscallError("read", failed),
		}
	}
	return buf, nil
}

// readSome reads what is there (read(2)).
func readSome(fd int) ([]byte, error) {
	buf := Get(readSize)
	for {
		n, err := unix.Read(fd, buf)
		switch {
		case err == unix.EINTR:
			continue
		case n > 0:
			return buf[:n], nil
		case err == nil:
			err = io.EOF
		}
		Put(buf)
		return nil, err
	}
}
