package forward

import (
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"banger/internal/chunk"
)

// readSize is how much is read at once, in bytes: what a frame of a session takes.
const readSize = 32 << 10

// used is a connection whose place is told of what is written.
type used struct {
	net.Conn
	place *Place
}

func (u used) Write(p []byte) (int, error) {
	u.place.Use()
	return u.Conn.Write(p)
}

// fromSocket copies what comes on conn to w, up to its end.
func fromSocket(w io.Writer, conn net.Conn, place *Place) error {
	for {
		buf, err := receive(conn)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		place.Use()
		_, err = w.Write(buf)
		chunk.Put(buf)
		if err != nil {
			return err
		}
	}
}

// receive waits for something on conn. It takes a buffer, which the caller gives back, only
// when there is something: there may be a thousand connections that are silent.
func receive(conn net.Conn) ([]byte, error) {
	socket, ok := conn.(syscall.Conn)
	if !ok { // not the system's, as in tests
		buf := chunk.Get(readSize)
		n, err := conn.Read(buf)
		if n == 0 {
			chunk.Put(buf)
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
		return failed != unix.EAGAIN
	})
	switch {
	case err != nil:
		return nil, err
	case failed == io.EOF:
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
	buf := chunk.Get(readSize)
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
		chunk.Put(buf)
		return nil, err
	}
}
