package guest_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"banger/internal/guest/budget"
	"banger/internal/guest/forward"
)

// TestFloodIsHeldBack: a server that sends without end to a client that does not read
// fills the windows and the kernel's buffers, and no more. Others are not held up.
func TestFloodIsHeldBack(t *testing.T) {
	var sent atomic.Int64
	flooding := server(t, func(conn net.Conn) {
		flood(conn, &sent)
	})
	c := portClient(t)
	near, _ := forwarding(t, c, tcpAt("127.0.0.1:0"), tcpAt(flooding))
	before := memory()
	const stalled = 20
	for range stalled {
		conn := dialTCP(t, near)
		_ = conn.SetReadBuffer(64 << 10)
	}
	for last := int64(-1); last != sent.Load() || last == 0; time.Sleep(500 * time.Millisecond) {
		last = sent.Load()
	}
	grown := memory() - before
	t.Logf("%d clients that stall took %.1f MiB each, of which %.2f MiB are in both ends' memory",
		stalled, float64(sent.Load())/stalled/(1<<20), float64(grown)/stalled/(1<<20))
	// Each end holds a window of the stream, in buffers that may have grown to twice
	// that; the rest is in the kernel.
	if grown > stalled*(2<<20) {
		t.Errorf("%d bytes are held for %d streams", grown, stalled)
	}
	echo := server(t, func(conn net.Conn) { _, _ = io.Copy(conn, conn) })
	other, _ := forwarding(t, c, tcpAt("127.0.0.1:0"), tcpAt(echo))
	speak(t, dialTCP(t, other))
}

func memory() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// speak sends a line, and wants it back.
func speak(t *testing.T, conn net.Conn) {
	t.Helper()
	buf := make([]byte, 5)
	if _, err := fmt.Fprint(conn, "hello"); err != nil {
		t.Error(err)
	} else if _, err := io.ReadFull(conn, buf); err != nil || string(buf) != "hello" {
		t.Errorf("%q, %v", buf, err)
	}
}

// TestThousandConnections at once; one more waits until there is room.
func TestThousandConnections(t *testing.T) {
	echo := server(t, func(conn net.Conn) { _, _ = io.Copy(conn, conn) })
	near, failures := forwarding(t, portClient(t), tcpAt("127.0.0.1:0"), tcpAt(echo))
	before, began := memory(), time.Now()
	conns := make([]*net.TCPConn, budget.MaxConnections)
	var work sync.WaitGroup
	for i := range conns {
		work.Go(func() {
			conn, err := net.Dial("tcp", near)
			if err != nil {
				t.Error(err)
				return
			}
			conns[i] = conn.(*net.TCPConn)
			_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
			speak(t, conn)
		})
	}
	work.Wait()
	if t.Failed() {
		t.Fatal("not all have spoken")
	}
	t.Logf("%d connections spoke within %s; each takes %d KiB of both ends' memory, with the test's",
		len(conns), time.Since(began).Round(time.Millisecond), (memory()-before)/int64(len(conns))>>10)
	late := dialTCP(t, near)
	_ = late.SetDeadline(time.Now().Add(time.Minute))
	waited := make(chan struct{})
	go func() {
		defer close(waited)
		speak(t, late)
	}()
	select {
	case <-waited:
		t.Error("one too many is served")
	case <-time.After(200 * time.Millisecond):
	}
	conns[0].Close()
	<-waited
	for _, conn := range conns[1:] {
		conn.Close()
	}
	select {
	case err := <-failures:
		t.Errorf("a connection broke: %v", err)
	default:
	}
}

// TestIdleMakesRoom: if there is no place for another connection, it waits until one has
// been idle for long enough, which is reset.
func TestIdleMakesRoom(t *testing.T) {
	echo := server(t, func(conn net.Conn) { _, _ = io.Copy(conn, conn) })
	c := portClient(t)
	c.Crowd = forward.NewCrowd(2)
	c.Crowd.Silent = 500 * time.Millisecond
	near, failures := forwarding(t, c, tcpAt("127.0.0.1:0"), tcpAt(echo))
	silent, busy := dialTCP(t, near), dialTCP(t, near)
	speak(t, silent)
	done, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		for {
			speak(t, busy)
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	speak(t, dialTCP(t, near))
	close(done)
	<-over
	if _, err := silent.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the silent one: %v", err)
	}
	if err := <-failures; !strings.Contains(err.Error(), "idle") {
		t.Errorf("it is said that %v", err)
	}
}
