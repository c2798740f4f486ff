package stdio

import (
	"io"
	"net"
	"testing"
	"time"
)

// TestNarrow: a forwarded connection's stream is held back by its own small window, and goes on
// by the credit of an end that knows nothing of that.
func TestNarrow(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	near, far := New(here, Handler{Signal: func(int) {}, Resize: func(_, _ uint16) {}}, Stdin), New(there, Handler{Exit: func(Exit) {}}, Stdout, Stderr)
	go func() { _ = near.Run() }()
	go func() { _ = far.Run() }()
	out, in := near.Out(Stdout), far.In(Stdout)
	out.Narrow()
	const total = 1 << 20
	go func() {
		_, _ = out.Write(make([]byte, total))
		_ = out.Close()
	}()
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		_, sent := near.Traffic()
		if sent > connectionWindow {
			t.Fatalf("%d bytes are sent that nobody has read, of a window of %d", sent, connectionWindow)
		}
		if sent == connectionWindow {
			break
		}
		if time.Since(began) > 10*time.Second {
			t.Fatalf("only %d bytes are sent", sent)
		}
	}
	if n, err := io.Copy(io.Discard, in); n != total || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}
