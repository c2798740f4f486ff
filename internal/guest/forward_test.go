package guest_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/guest/agent"
	"banger/internal/guest/forward"
	"banger/internal/guest/stdio"
)

func tcpAt(address string) stdio.Endpoint {
	return stdio.Endpoint{Network: stdio.TCP, Address: address}
}

// server serves each connection with handle until the test ends, and returns where.
func server(t testing.TB, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveAll(t, l, handle)
	return l.Addr().String()
}

func serveAll(t testing.TB, l net.Listener, handle func(net.Conn)) {
	var work sync.WaitGroup
	work.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				defer conn.Close()
				handle(conn)
			})
		}
	})
	t.Cleanup(func() { l.Close(); work.Wait() })
}

// forwarding forwards a port of this host to one in the guest, and returns it.
func forwarding(t testing.TB, c *guest.Client, listen, to stdio.Endpoint) (string, chan error) {
	t.Helper()
	l, err := forward.Listen(t.Context(), listen)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	failures, done := make(chan error, 1100), make(chan struct{})
	go func() {
		defer close(done)
		if err := c.Forward(ctx, l, to, func(err error) { failures <- err }); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return l.Addr().String(), failures
}

func portClient(t testing.TB) *guest.Client {
	t.Helper()
	link := connect(t, startAgent(t, agent.Options{Root: t.TempDir(), BootID: "b"}))
	return &guest.Client{Dial: link.Open}
}

func dialTCP(t testing.TB, address string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	return conn.(*net.TCPConn)
}

// TestHalfClose: each direction ends by itself, and the other goes on.
func TestHalfClose(t *testing.T) {
	at := server(t, func(conn net.Conn) {
		all, err := io.ReadAll(conn) // up to the client's end
		if err != nil {
			t.Error(err)
		}
		fmt.Fprintf(conn, "%d bytes, ", len(all))
		_ = conn.(*net.TCPConn).CloseWrite()
	})
	near, _ := forwarding(t, portClient(t), tcpAt("127.0.0.1:0"), tcpAt(at))
	conn := dialTCP(t, near)
	fmt.Fprint(conn, strings.Repeat("x", 3<<20))
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(conn); err != nil || string(answer) != "3145728 bytes, " {
		t.Errorf("%q, %v", answer, err)
	}
}

// TestServerSpeaksAndCloses: what was sent before an early end arrives.
func TestServerSpeaksAndCloses(t *testing.T) {
	at := server(t, func(conn net.Conn) { _, _ = io.WriteString(conn, strings.Repeat("y", 1<<20)) })
	near, _ := forwarding(t, portClient(t), tcpAt("127.0.0.1:0"), tcpAt(at))
	if answer, err := io.ReadAll(dialTCP(t, near)); err != nil || len(answer) != 1<<20 {
		t.Errorf("%d bytes, %v", len(answer), err)
	}
}

// noName is the name of no host: its label is too long to be asked of a name server
// (RFC 1035, 2.3.4).
var noName = strings.Repeat("x", 64) + ".invalid"

// TestRefused: where nobody listens, the connection is reset promptly and the reason
// is known.
func TestRefused(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := closed.Addr().String()
	closed.Close()
	for name, c := range map[string]struct {
		to    stdio.Endpoint
		errno syscall.Errno
		kind  api.Kind
	}{
		"a port":                {tcpAt(at), syscall.ECONNREFUSED, api.KindNotFound},
		"a port of a loopback":  {tcpAt(":1"), syscall.ECONNREFUSED, api.KindNotFound},
		"a socket":              {stdio.Endpoint{Network: stdio.Unix, Address: "/absent.sock"}, syscall.ENOENT, api.KindNotFound},
		"a name":                {tcpAt(noName + ":80"), 0, api.KindNotFound},
		"a network that is not": {stdio.Endpoint{Network: "sctp", Address: ":80"}, 0, api.KindUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			near, failures := forwarding(t, portClient(t), tcpAt("127.0.0.1:0"), c.to)
			began := time.Now()
			conn, err := net.Dial("tcp", near)
			if err == nil { // else it was reset already
				defer conn.Close()
				_, err = conn.Read(make([]byte, 1))
			}
			if !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the client reads %v", err)
			}
			if took := time.Since(began); took > 5*time.Second && c.errno != 0 {
				t.Errorf("it took %s", took)
			}
			failure := <-failures
			if c.errno != 0 && !errors.Is(failure, c.errno) || api.KindOf(failure) != c.kind {
				t.Errorf("%s %v", api.KindOf(failure), failure)
			}
		})
	}
}

// TestResetPasses: a connection that breaks in the guest never looks complete.
func TestResetPasses(t *testing.T) {
	at := server(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, strings.Repeat("z", 100<<10))
		_, _ = conn.Read(make([]byte, 1))
		forward.Abort(conn)
	})
	near, _ := forwarding(t, portClient(t), tcpAt("127.0.0.1:0"), tcpAt(at))
	for range 20 {
		conn := dialTCP(t, near)
		_, _ = conn.Write([]byte("!"))
		if _, err := io.Copy(io.Discard, conn); !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("the client reads %v", err)
		}
	}
}

// TestClientResets: the server in the guest learns that its client broke.
func TestClientResets(t *testing.T) {
	reads := make(chan error, 1)
	at := server(t, func(conn net.Conn) {
		_, _ = conn.Write([]byte("ready"))
		_, err := io.Copy(io.Discard, conn)
		reads <- err
	})
	near, _ := forwarding(t, portClient(t), tcpAt("127.0.0.1:0"), tcpAt(at))
	conn := dialTCP(t, near)
	_, _ = io.ReadFull(conn, make([]byte, 5))
	_, _ = conn.Write([]byte("half of "))
	forward.Abort(conn)
	if err := <-reads; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the server reads %v", err)
	}
}

// TestConnectionsRideOutTheLink: channels are cut again and again, and not a byte is
// lost or repeated, in either direction.
func TestConnectionsRideOutTheLink(t *testing.T) {
	at := server(t, func(conn net.Conn) {
		if _, err := io.Copy(conn, conn); err == nil {
			_ = conn.(*net.TCPConn).CloseWrite()
		}
	})
	path := startAgent(t, agent.Options{Root: t.TempDir(), BootID: "b"})
	var mu sync.Mutex
	var channels []net.Conn
	var link *guest.Link
	c := &guest.Client{Dial: func(ctx context.Context) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		if link == nil || link.Err() != nil {
			raw, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
			if err != nil {
				return nil, err
			}
			channels = append(channels, raw)
			if link, err = guest.Connect(ctx, raw, "test"); err != nil {
				return nil, err
			}
		}
		return link.Open(ctx)
	}}
	near, _ := forwarding(t, c, tcpAt("127.0.0.1:0"), tcpAt(at))
	// A link is cut when so much has come by it: by time, a slow machine would never
	// get anywhere.
	const perLink = 512 << 10
	came := make(counter, 64)
	cutting := make(chan struct{})
	go func() {
		defer close(cutting)
		byLink := 0
		for n := range came {
			if byLink += n; byLink < perLink {
				continue
			}
			byLink = 0
			mu.Lock()
			if len(channels) > 0 {
				channels[len(channels)-1].Close()
			}
			mu.Unlock()
		}
	}()
	var work sync.WaitGroup
	for i := range 4 {
		work.Go(func() {
			conn := dialTCP(t, near)
			sent, back := sha256.New(), sha256.New()
			work.Go(func() {
				random := rand.NewChaCha8([32]byte{byte(i)})
				_, err := io.CopyN(io.MultiWriter(conn, sent), random, 3<<20)
				if err != nil {
					t.Error(err)
				}
				_ = conn.CloseWrite()
			})
			n, err := io.Copy(io.MultiWriter(back, came), conn)
			if n != 3<<20 || err != nil || string(back.Sum(nil)) != string(sent.Sum(nil)) {
				t.Errorf("%d bytes came back, %v", n, err)
			}
		})
	}
	work.Wait()
	close(came)
	<-cutting
	t.Logf("%d links", len(channels))
	if len(channels) < 3 {
		t.Error("hardly a link was cut")
	}
	link.Close()
}

// counter passes on how much is written to it.
type counter chan int

func (c counter) Write(p []byte) (int, error) {
	c <- len(p)
	return len(p), nil
}

// TestUnixSockets at both ends.
func TestUnixSockets(t *testing.T) {
	root := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(root, "echo.sock"))
	if err != nil {
		t.Fatal(err)
	}
	serveAll(t, l, func(conn net.Conn) { _, _ = io.Copy(conn, conn) })
	link := connect(t, startAgent(t, agent.Options{Root: root, BootID: "b"}))
	c := &guest.Client{Dial: link.Open}
	near := filepath.Join(t.TempDir(), "near.sock")
	forwarding(t, c, stdio.Endpoint{Network: stdio.Unix, Address: near}, stdio.Endpoint{Network: stdio.Unix, Address: "/echo.sock"})
	conn, err := net.Dial("unix", near)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "hello")
	_ = conn.(*net.UnixConn).CloseWrite()
	if all, err := io.ReadAll(conn); string(all) != "hello" || err != nil {
		t.Errorf("%q, %v", all, err)
	}
}

// TestDatagrams keep their borders, and each sender gets its own answers.
func TestDatagrams(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		buf := make([]byte, 1<<16)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = pc.WriteTo(append([]byte("re:"), buf[:n]...), from)
		}
	}()
	t.Cleanup(func() { pc.Close(); <-served })
	udp := func(at string) stdio.Endpoint { return stdio.Endpoint{Network: stdio.UDP, Address: at} }
	near, _ := forwarding(t, portClient(t), udp("127.0.0.1:0"), udp(pc.LocalAddr().String()))
	for i := range 3 {
		conn, err := net.Dial("udp", near)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		buf := make([]byte, 1<<16)
		for _, say := range []string{"", "a", fmt.Sprint("number ", i), strings.Repeat("long ", 12000)} {
			fmt.Fprint(conn, say)
			n, err := conn.Read(buf)
			if string(buf[:n]) != "re:"+say || err != nil {
				t.Errorf("%q gives %.20q (%d bytes), %v", say, buf[:n], n, err)
			}
		}
	}
}

// TestReverse: a port in the guest leads to this host.
func TestReverse(t *testing.T) {
	at := server(t, func(conn net.Conn) { _, _ = io.Copy(conn, conn) })
	c := portClient(t)
	for name, to := range map[string]string{"a server": at, "nobody": "127.0.0.1:1"} {
		r, err := c.Listen(t.Context(), tcpAt(":0"))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done, failures := make(chan error, 1), make(chan error, 10)
		go func() { done <- r.Serve(ctx, tcpAt(to), func(err error) { failures <- err }) }()
		all, err := echoed(r.Address)
		if name == "nobody" {
			if failure := <-failures; !errors.Is(err, syscall.ECONNRESET) || !errors.Is(failure, syscall.ECONNREFUSED) {
				t.Errorf("%s: %q, %v, %v", name, all, err, failure)
			}
		} else if string(all) != "hello" || err != nil {
			t.Errorf("%s: %q, %v", name, all, err)
		}
		taken, err := c.Listen(t.Context(), tcpAt(r.Address))
		if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "is taken by guest.test (process ") {
			t.Errorf("a port that is taken gives %v, %v", taken, err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		again := time.Now().Add(10 * time.Second)
		for conn, err := net.Dial("tcp", r.Address); err == nil && time.Now().Before(again); conn, err = net.Dial("tcp", r.Address) {
			conn.Close() // the agent learns of the end a moment later
		}
		if conn, err := net.Dial("tcp", r.Address); err == nil {
			conn.Close()
			t.Errorf("%s: the guest still listens", name)
		}
	}
}

// echoed says hello to an address and reads to the end. A connection that is reset may
// be so before connect(2) returns.
func echoed(address string) ([]byte, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := conn.Write([]byte("hello")); err != nil {
		return nil, err
	}
	_ = conn.(*net.TCPConn).CloseWrite()
	return io.ReadAll(conn)
}

// TestPorts finds this very process.
func TestPorts(t *testing.T) {
	at := server(t, func(net.Conn) {})
	list, err := portClient(t).Ports(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		if at == fmt.Sprintf("%s:%d", p.Address, p.Port) && p.Protocol == "tcp" && p.PID == syscall.Getpid() && p.Process == "guest.test" {
			return
		}
	}
	t.Errorf("%s is not in %+v", at, list)
}
