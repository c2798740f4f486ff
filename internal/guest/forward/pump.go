package forward

import (
	"errors"
	"io"
	"net"

	"banger/internal/guest/chunk"
)

// used is a connection that updates its place when data is written.
type used struct {
	net.Conn
	place *Place
}

func (u used) Write(p []byte) (int, error) {
	u.place.Use()
	return u.Conn.Write(p)
}

// fromSocket copies from conn to w, to its end.
func fromSocket(w io.Writer, conn net.Conn, place *Place) error {
	for {
		buf, err := chunk.Read(conn)
		if errors.Is(err, io.EOF) {
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
