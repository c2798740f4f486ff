package agent

import (
	"io"
	"net"
	"slices"
	"testing"
	"time"
)

// slowConn is a link that carries so many bytes a second of what is written.
type slowConn struct {
	net.Conn
	rate int
}

func (c slowConn) Write(p []byte) (int, error) {
	time.Sleep(time.Duration(len(p)) * time.Second / time.Duration(c.rate))
	return c.Conn.Write(p)
}

// linkRate is that of an emulated guest on a busy machine, in bytes a second.
const linkRate = 8 << 20

// TestEchoBesideBulk: a byte there and back does not wait for a piece of each of the others.
func TestEchoBesideBulk(t *testing.T) {
	for name, argv := range map[string][]string{"downloads": {"cat", "/dev/zero"}, "uploads": {"sh", "-c", "cat > /dev/null"}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, limits{64, time.Hour, time.Hour})
			here, there := net.Pipe()
			link := r.linkBy(slowConn{here, linkRate}, slowConn{there, linkRate})
			echo := r.exec(link.Open, "cat")
			bounce := func() time.Duration {
				began := time.Now()
				if _, err := echo.Stdin.Write([]byte{'x'}); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(echo.Stdout, make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
				return time.Since(began)
			}
			alone := bounce()
			for range 16 {
				s := r.exec(link.Open, argv...)
				go func() { _, _ = io.Copy(io.Discard, s.Stdout) }()
				if name == "uploads" {
					go func() { _, _ = io.Copy(s.Stdin, zeros{}) }()
				}
			}
			time.Sleep(time.Second) // all flow
			var took []time.Duration
			for range 40 {
				took = append(took, bounce())
			}
			slices.Sort(took)
			median := took[len(took)/2]
			t.Logf("alone %v, beside 16 %s %v, at worst %v", alone, name, median, took[len(took)-1])
			if median > 30*time.Millisecond {
				t.Errorf("beside 16 %s it takes %v", name, median)
			}
		})
	}
}

// zeros has them without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
