package bootup_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	mathrand "math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/guest/agentproto"
	"banger/internal/host/fsx"
)

// cutConn closes after a number of bytes, in the middle of whatever is written.
type cutConn struct {
	net.Conn
	left int
}

func (c *cutConn) Write(p []byte) (int, error) {
	if len(p) <= c.left {
		c.left -= len(p)
		return c.Conn.Write(p)
	}
	n, _ := c.Conn.Write(p[:c.left])
	c.left = 0
	c.Conn.Close()
	return n, io.ErrClosedPipe
}

// cutter keeps a link to a machine and kills it again and again.
type cutter struct {
	mu    sync.Mutex
	link  *guest.Link
	links int
}

func (c *cutter) run(ctx context.Context, m *machine) {
	random := mathrand.New(mathrand.NewPCG(3, 5))
	for ctx.Err() == nil {
		conn, err := fsx.DialUnix(ctx, m.socket)
		if err != nil {
			continue
		}
		greeting, cancel := context.WithTimeout(ctx, 20*time.Second)
		link, err := guest.Connect(greeting, &cutConn{conn, 100 + random.IntN(600<<10)}, "test")
		cancel()
		if err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				m.t.Errorf("the agent did not answer after %d links", c.links)
				return
			}
			continue // cut within the greeting
		}
		c.mu.Lock()
		c.link = link
		c.links++
		c.mu.Unlock()
		select {
		case <-link.Done():
		case <-time.After(time.Duration(random.IntN(400)) * time.Millisecond):
		case <-ctx.Done():
		}
		link.Close()
	}
}

func (c *cutter) open(ctx context.Context) (net.Conn, error) {
	c.mu.Lock()
	link := c.link
	c.mu.Unlock()
	if link == nil {
		return nil, errors.New("no link yet")
	}
	return link.Open(ctx)
}

// TestResumeOverVirtioSerial kills the host's connection in the middle of frames
// while bytes go both ways through a real guest's port.
func TestResumeOverVirtioSerial(t *testing.T) {
	m := start(t, prepare(t), bootArgs(t, func(*agentproto.Boot) {}), makeDisk(t, busyboxDir(t)))
	m.connect().Close() // it is up
	ctx, cancel := context.WithCancel(t.Context())
	c := &cutter{}
	var cutting sync.WaitGroup
	cutting.Go(func() { c.run(ctx, m) })
	sent, received, exit := echo(t, &guest.Client{Dial: c.open}, 20<<20)
	cancel()
	cutting.Wait()
	if sent != received || exit.Code != 0 {
		t.Errorf("sent %s, received %s, %+v", sent, received, exit)
	}
	t.Logf("%d links", c.links)
	shutDown(t, m, m.connect())
}

// echo sends random bytes through cat in the guest.
func echo(t *testing.T, c *guest.Client, size int64) (sent, received string, exit guest.Exit) {
	t.Helper()
	var s *guest.Session
	for err := error(nil); s == nil; {
		if s, err = c.Exec(t.Context(), api.Exec{Argv: []string{"cat"}}); err != nil {
			time.Sleep(time.Millisecond)
		}
	}
	defer s.Close()
	sum := sha256.New()
	var sending sync.WaitGroup
	sending.Go(func() {
		_, _ = io.Copy(io.MultiWriter(sum, s.Stdin), io.LimitReader(rand.Reader, size))
		_ = s.Stdin.Close()
	})
	sending.Go(func() { _, _ = io.Copy(io.Discard, s.Stderr) })
	got := sha256.New()
	_, err := io.Copy(got, s.Stdout)
	must(t, err)
	sending.Wait()
	exit, err = s.Wait(t.Context())
	must(t, err)
	return hex.EncodeToString(sum.Sum(nil)), hex.EncodeToString(got.Sum(nil)), exit
}
