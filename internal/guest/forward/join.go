package forward

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"syscall"

	"banger/internal/guest/stdio"
)

// Join copies from a connection to a session's stream out, and from its stream in to the connection,
// until both directions have ended, each separately as in TCP. If one fails, or ctx ends, the
// connection is reset, so that incomplete data does not look complete. Join closes the connection.
// place, which may be nil, is updated when data is carried.
func Join(ctx context.Context, conn net.Conn, in *stdio.In, out *stdio.Out, place *Place) error {
	stop := context.AfterFunc(ctx, func() { Abort(conn) })
	defer stop()
	out.Narrow()
	ended := make(chan error, 2)
	if isPackets(conn) {
		// Datagrams have no half that could continue alone.
		go func() { ended <- errors.Join(fromPackets(out, conn, place), out.Close(), in.Close()) }()
		go func() {
			err := toPackets(conn, in, place)
			conn.Close()
			out.Abandon() // it may wait for a reader that is gone
			ended <- err
		}()
	} else {
		go func() { ended <- fromConn(out, conn, place) }()
		go func() { ended <- toConn(conn, in, place) }()
	}
	err := <-ended
	if err != nil {
		Abort(conn)
		_ = in.Close()
		out.Abandon()
	}
	if second := <-ended; err == nil {
		err = second
	}
	if err != nil {
		Abort(conn)
	}
	conn.Close()
	return err
}

// Abort closes a connection so that its other end learns that it failed: with a reset
// (tcp(7), SO_LINGER of 0).
func Abort(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	conn.Close()
}

func fromConn(out *stdio.Out, conn net.Conn, place *Place) error {
	if err := fromSocket(out, conn, place); err != nil {
		return err
	}
	return out.Close()
}

func toConn(conn net.Conn, in *stdio.In, place *Place) error {
	if _, err := in.WriteTo(used{conn, place}); err != nil {
		return err
	}
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok {
		return nil
	}
	err := half.CloseWrite()
	if errors.Is(err, syscall.ENOTCONN) {
		return nil // the other end has closed both halves
	}
	return err
}

func isPackets(conn net.Conn) bool {
	switch conn.(type) {
	case *flow, *net.UDPConn:
		return true
	}
	return false
}

// fromPackets writes each datagram behind its length of two bytes.
func fromPackets(w io.Writer, conn net.Conn, place *Place) error {
	buf := make([]byte, 2+maxDatagram)
	for {
		n, err := conn.Read(buf[2:])
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			continue // the answer to a datagram: nobody listens (udp(7))
		case errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			return err
		}
		place.Use()
		binary.BigEndian.PutUint16(buf, uint16(n))
		if _, err := w.Write(buf[:2+n]); err != nil {
			return unlessClosed(err)
		}
	}
}

// toPackets is the opposite. A datagram that cannot be sent is lost, as any may be.
func toPackets(conn net.Conn, r io.Reader, place *Place) error {
	buf := make([]byte, 2<<10)
	for {
		var length [2]byte
		if _, err := io.ReadFull(r, length[:]); err != nil {
			return unlessClosed(err)
		}
		n := int(binary.BigEndian.Uint16(length[:]))
		if n > maxDatagram {
			return errors.New("a datagram is too long")
		}
		if n > len(buf) {
			buf = make([]byte, n)
		}
		if _, err := io.ReadFull(r, buf[:n]); err != nil {
			return err
		}
		place.Use()
		_, _ = conn.Write(buf[:n])
	}
}

// unlessClosed returns nil if err only means that this end has closed the stream, or that the stream
// has ended.
func unlessClosed(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) {
		return nil
	}
	return err
}
