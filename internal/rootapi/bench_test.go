package rootapi

import (
	"net"
	"path/filepath"
	"testing"
)

// BenchmarkRoundTrip is one request over a real socket, a connection each, with the
// least work behind it.
func BenchmarkRoundTrip(b *testing.B) {
	socket := filepath.Join(b.TempDir(), "helper.sock")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: socket, Net: "unixpacket"})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.AcceptUnix()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if _, _, err := ReadRequest(conn); err == nil {
					_ = Send(conn, NewResponse("bench", HelloAnswer{Version: "bench"}, nil), nil)
				}
			}()
		}
	}()
	c := Client{Socket: socket, Version: "bench"}
	for b.Loop() {
		var answer HelloAnswer
		if _, err := c.Do(b.Context(), HelloCall{}, &answer); err != nil {
			b.Fatal(err)
		}
	}
}
