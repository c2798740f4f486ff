package stream

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cutConn breaks after a number of bytes, in the middle of whatever is written.
type cutConn struct {
	net.Conn
	mu   sync.Mutex
	left int
}

func (c *cutConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(p) <= c.left {
		c.left -= len(p)
		return c.Conn.Write(p)
	}
	n, _ := c.Conn.Write(p[:c.left])
	c.left = 0
	c.Conn.Close()
	return n, io.ErrClosedPipe
}

// checked writes size random bytes to p in odd pieces and returns their checksum.
func checked(t *testing.T, p *Pipe, size int, seed uint64) string {
	random := rand.New(rand.NewPCG(seed, 1))
	sum := sha256.New()
	for size > 0 {
		b := make([]byte, min(size, 1+random.IntN(50000)))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		if _, err := p.Write(b); err != nil {
			t.Errorf("Write: %v", err)
			break
		}
		sum.Write(b)
		size -= len(b)
	}
	p.CloseWrite()
	return hexSum(sum)
}

func hexSum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

func TestResumeLosesAndRepeatsNothing(t *testing.T) {
	client, server := New(NewID()), New(ID{})
	server.id = client.id
	var work, moving sync.WaitGroup
	cuts := 0
	work.Go(func() { // connections, each cut at a random byte, both directions
		random := rand.New(rand.NewPCG(7, 7))
		for {
			select {
			case <-client.Done():
				return
			default:
			}
			here, there := net.Pipe()
			limit := 1 + random.IntN(20000)
			if random.IntN(4) == 0 {
				limit = 1 + random.IntN(60) // within the attachment itself
			}
			limits := []int{limit, 70000}
			if random.IntN(2) == 0 {
				limits[0], limits[1] = limits[1], limits[0]
			}
			served := make(chan struct{})
			go func() {
				defer close(served)
				wish, err := Accept(&cutConn{Conn: there, left: limits[1]})
				if err != nil {
					there.Close()
					return
				}
				_ = wish.Serve(server)
			}()
			_ = client.Attach(&cutConn{Conn: here, left: limits[0]}, nil)
			<-served
			cuts++
		}
	})
	sums := make([]string, 4)
	const size = 8 << 20
	moving.Go(func() { sums[0] = checked(t, client, size, 1) })
	moving.Go(func() { sums[2] = checked(t, server, size, 2) })
	for i, p := range []*Pipe{server, client} {
		moving.Go(func() {
			sum := sha256.New()
			if n, err := io.Copy(sum, p); err != nil || n != size {
				t.Errorf("read %d bytes, %v", n, err)
			}
			sums[2*i+1] = hexSum(sum)
		})
	}
	moving.Wait()
	<-client.Flushed()
	<-server.Flushed()
	client.Close()
	work.Wait()
	server.Close()
	if sums[0] != sums[1] || sums[2] != sums[3] {
		t.Fatalf("checksums differ: %v", sums)
	}
	if cuts < 100 {
		t.Errorf("only %d connections were cut", cuts)
	}
	t.Logf("%d connections", cuts)
}

// join attaches two ends by one connection until stop is called.
func join(t *testing.T, client, server *Pipe) (stop func()) {
	t.Helper()
	here, there := net.Pipe()
	var work sync.WaitGroup
	work.Go(func() {
		wish, err := Accept(there)
		if err != nil {
			t.Error(err)
			return
		}
		_ = wish.Serve(server)
	})
	work.Go(func() { _ = client.Attach(here, nil) })
	return func() { here.Close(); work.Wait() }
}

func TestWriterWaitsForTheReader(t *testing.T) {
	client, server := New(NewID()), New(ID{})
	stop := join(t, client, server)
	done := make(chan int)
	go func() {
		n, _ := client.Write(make([]byte, 10*Window))
		done <- n
	}()
	buf := make([]byte, Window)
	if _, err := io.ReadFull(server, buf); err != nil {
		t.Fatal(err)
	}
	server.mu.Lock()
	held := server.in.len()
	server.mu.Unlock()
	if held > Window {
		t.Errorf("%d bytes are held", held)
	}
	select {
	case n := <-done:
		t.Errorf("the writer went on to %d bytes without a reader", n)
	default:
	}
	client.Reset(ErrClosed)
	if n := <-done; n > 3*Window {
		t.Errorf("%d bytes were taken", n)
	}
	if _, err := io.Copy(io.Discard, server); err == nil {
		t.Error("a reset looks like the end")
	}
	stop()
}

func TestReasonArrives(t *testing.T) {
	client := New(NewID())
	here, there := net.Pipe()
	go func() {
		wish, err := Accept(there)
		if err == nil {
			_ = wish.Refuse(io.ErrNoProgress)
		}
	}()
	if err := client.Attach(here, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Read(make([]byte, 1)); err == nil || err.Error() != io.ErrNoProgress.Error() {
		t.Fatalf("got %v", err)
	}
}

// goneConn is a connection whose other end has said something and gone: writes fail,
// and what it said can be read once one has.
type goneConn struct {
	said   io.Reader
	failed chan struct{}
	once   sync.Once
}

func (c *goneConn) Write([]byte) (int, error) {
	c.once.Do(func() { close(c.failed) })
	return 0, io.ErrClosedPipe
}

func (c *goneConn) Read(b []byte) (int, error) {
	<-c.failed
	time.Sleep(time.Millisecond) // the writer's error comes first
	return c.said.Read(b)
}

func (c *goneConn) Close() error {
	c.said = strings.NewReader("")
	return nil
}

// TestReasonArrivesThoughNobodyListens: that a write failed does not make what the other
// end said before it went unsaid.
func TestReasonArrivesThoughNobodyListens(t *testing.T) {
	client := New(NewID())
	reason := reasonPayload(io.ErrNoProgress)
	said := appendHeader(nil, frame{kind: kindAttach})
	said = append(appendHeader(said, frame{kind: kindReset, length: len(reason)}), reason...)
	_ = client.Attach(&goneConn{said: bytes.NewReader(said), failed: make(chan struct{})}, nil)
	select {
	case <-client.Done():
	default:
		t.Fatal("the reset was not heard")
	}
	if _, err := client.Read(make([]byte, 1)); err == nil || err.Error() != io.ErrNoProgress.Error() {
		t.Errorf("got %v", err)
	}
}
