package guest_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	mathrand "math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/guest/agent"
	"banger/internal/guest/agentproto"
)

// port is a byte channel like a virtio-serial port: one stream at the guest's end
// for all connections of the host, with no sign between one and the next. What a
// connection left half-written stays half-written.
type port struct {
	agent, far net.Conn
	mu         sync.Mutex
	host       net.Conn
	toGuest    sync.Mutex
}

func newPort(t *testing.T) *port {
	p := &port{}
	p.agent, p.far = net.Pipe()
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := p.far.Read(buf)
			if err != nil {
				return
			}
			p.mu.Lock()
			host := p.host
			p.mu.Unlock()
			if host != nil { // QEMU drops what comes while no host is connected
				host.Write(buf[:n])
			}
		}
	}()
	t.Cleanup(func() { p.agent.Close(); p.far.Close() })
	return p
}

// connect is a new host connection, which breaks after so many bytes to the guest.
func (p *port) connect(limit int64) net.Conn {
	here, there := net.Pipe()
	p.mu.Lock()
	p.host = there
	p.mu.Unlock()
	go func() {
		p.toGuest.Lock()
		defer p.toGuest.Unlock()
		io.Copy(p.far, io.LimitReader(there, limit))
		there.Close()
	}()
	return here
}

func (p *port) Accept(ctx context.Context) (agentproto.Conn, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return p.agent, nil
}

// servePort serves an agent on a port.
func servePort(t *testing.T, o agent.Options) *port {
	p := newPort(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		agent.Serve(ctx, o, p)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return p
}

// daemon keeps a link over a port, and kills it after random numbers of bytes.
type daemon struct {
	mu    sync.Mutex
	link  *guest.Link
	links int
}

func (d *daemon) run(ctx context.Context, t *testing.T, p *port) {
	random := mathrand.New(mathrand.NewPCG(3, 5))
	for ctx.Err() == nil {
		limit := int64(400 + random.IntN(900<<10))
		link, err := guest.Connect(ctx, p.connect(limit), "test")
		if err != nil {
			continue // cut within the greeting
		}
		d.mu.Lock()
		d.link = link
		d.links++
		d.mu.Unlock()
		select {
		case <-link.Done():
		case <-ctx.Done():
		}
		link.Close()
	}
}

func (d *daemon) open(ctx context.Context) (net.Conn, error) {
	d.mu.Lock()
	link := d.link
	d.mu.Unlock()
	if link == nil {
		return nil, errors.New("no channel yet")
	}
	return link.Open(ctx)
}

func TestSessionSurvivesKilledLinks(t *testing.T) {
	p := servePort(t, agent.Options{Root: t.TempDir()})
	ctx, cancel := context.WithCancel(t.Context())
	d := &daemon{}
	running := make(chan struct{})
	go func() { defer close(running); d.run(ctx, t, p) }()
	defer func() { cancel(); <-running }()

	client := &guest.Client{Dial: d.open}
	var s *guest.Session
	var err error
	for s == nil {
		s, err = client.Exec(ctx, api.Exec{Argv: []string{"cat"}})
		if err != nil && !strings.Contains(err.Error(), "channel") {
			t.Fatal(err)
		}
	}
	const size = 20 << 20
	sent := make(chan string)
	go func() {
		sum := sha256.New()
		io.Copy(io.MultiWriter(sum, s.Stdin), io.LimitReader(rand.Reader, size))
		s.Stdin.Close()
		sent <- hex.EncodeToString(sum.Sum(nil))
	}()
	go io.Copy(io.Discard, s.Stderr)
	sum := sha256.New()
	n, err := io.Copy(sum, s.Stdout)
	if err != nil || n != size {
		t.Fatalf("read %d bytes: %v", n, err)
	}
	if got, want := hex.EncodeToString(sum.Sum(nil)), <-sent; got != want {
		t.Fatal("checksums differ")
	}
	wait, stop := context.WithTimeout(ctx, 20*time.Second)
	defer stop()
	if exit, err := s.Wait(wait); err != nil || exit.Code != 0 {
		t.Fatal(exit, err)
	}
	s.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	t.Logf("%d links", d.links)
	if d.links < 10 {
		t.Errorf("only %d links", d.links)
	}
}

// A daemon that stops may cut its relays before its link: the session goes on.
func TestSessionSurvivesAChannelCutBeforeItsLink(t *testing.T) {
	path := startAgent(t, agent.Options{Root: t.TempDir()})
	link := connect(t, path)
	var mu sync.Mutex
	var channel net.Conn
	client := &guest.Client{Dial: func(ctx context.Context) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		if link == nil {
			return nil, errors.New("no link")
		}
		c, err := link.Open(ctx)
		channel = c
		return c, err
	}}
	s := exec(t, client, api.Exec{Argv: []string{"cat"}})
	io.WriteString(s.Stdin, "before ")
	if _, err := io.ReadFull(s.Stdout, make([]byte, 7)); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	old := link
	link = nil
	channel.Close()
	mu.Unlock()
	time.Sleep(50 * time.Millisecond)
	old.Close()
	fresh := connect(t, path)
	mu.Lock()
	link = fresh
	mu.Unlock()
	io.WriteString(s.Stdin, "after")
	s.Stdin.Close()
	if out, _, exit, err := result(t, s); out != "after" || exit.Code != 0 || err != nil {
		t.Fatal(out, exit, err)
	}
}
