package sshd

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"banger/internal/guest/forward"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// guest runs programs that say how they were started, and then do what their
// command says: "wait" ends by a signal, "leave" has output until a signal comes.
type guest struct{ crowd *forward.Crowd } // nil: as many connections as anybody likes

func (g guest) Place(end func()) *forward.Place {
	if g.crowd == nil {
		return forward.NewCrowd(1).Enter(end)
	}
	return g.crowd.Enter(end)
}

func (guest) Login(name string) (User, error) {
	if name == "nobody" {
		return User{}, errors.New("there is no nobody")
	}
	return User{Name: name, Home: "/"}, nil
}

func (guest) Program(_ User, start Start) Program {
	return &program{start: start, signals: make(chan int, 1)}
}

type program struct {
	start   Start
	signals chan int
}

func (p *program) Run(ctx context.Context, s Streams, ended func(Exit)) {
	fmt.Fprintf(s.Out, "%s %d", p.start.Command, len(p.start.Env))
	switch p.start.Command {
	case "wait":
		ended(p.wait(ctx))
	case "leave":
		ended(Exit{Code: 7})
		p.wait(ctx)
		fmt.Fprint(s.Out, " late")
	default:
		ended(Exit{Code: 7})
	}
}

func (p *program) wait(ctx context.Context) Exit {
	select {
	case n := <-p.signals:
		return Exit{Code: 128 + n, Signal: syscall.Signal(n)}
	case <-ctx.Done():
		return Exit{Code: 129, Signal: syscall.SIGHUP}
	}
}

func (p *program) Signal(number int)      { p.signals <- number }
func (*program) Resize(rows, cols uint16) {}

// pair is a connection's two ends, which take some bytes before they are read.
func pair(t *testing.T) (net.Conn, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	here, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	there, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return here, there
}

// serve serves a client, which knows the host's key.
func serve(t *testing.T, user string) (*ssh.Client, error) {
	t.Helper()
	return serveIn(t, guest{}, user)
}

func serveIn(t *testing.T, in guest, user string) (*ssh.Client, error) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	here, there := pair(t)
	served := make(chan error, 1)
	go func() { served <- Serve(context.Background(), there, key, in) }()
	t.Cleanup(func() {
		here.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	conn, channels, requests, err := ssh.NewClientConn(here, "", &ssh.ClientConfig{User: user, HostKeyCallback: ssh.FixedHostKey(public)})
	if err != nil {
		return nil, err
	}
	return ssh.NewClient(conn, channels, requests), nil
}

func client(t *testing.T) *ssh.Client {
	t.Helper()
	c, err := serve(t, "root")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestUnknownUser(t *testing.T) {
	if _, err := serve(t, "nobody"); err == nil {
		t.Error("nobody is in")
	}
}

func TestSignal(t *testing.T) {
	s, err := client(t).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("wait"); err != nil {
		t.Fatal(err)
	}
	if err := s.Signal(ssh.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	var exit *ssh.ExitError
	if err := s.Wait(); !errors.As(err, &exit) || exit.Signal() != "USR1" {
		t.Errorf("%v", err)
	}
}

// TestStatusComesBeforeTheLastOutput: a client learns how its program ended while what
// that left in the background still writes.
func TestStatusComesBeforeTheLastOutput(t *testing.T) {
	channel, requests, err := client(t).OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := channel.SendRequest("exec", true, ssh.Marshal(struct{ Command string }{"leave"})); !ok {
		t.Fatal(err)
	}
	if r := <-requests; r == nil || r.Type != "exit-status" {
		t.Fatalf("%+v", r)
	}
	if _, err := channel.SendRequest("signal", false, ssh.Marshal(struct{ Signal string }{"USR1"})); err != nil {
		t.Fatal(err)
	}
	if out, err := io.ReadAll(channel); string(out) != "leave 2 late" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
}

func TestEnvironmentIsBounded(t *testing.T) {
	s, err := client(t).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, value string }{
		{"A=B", "x"}, {"", "x"}, {"A", "x\x00y"}, {"LONG", strings.Repeat("x", maxEnvBytes)},
	} {
		if err := s.Setenv(c.name, c.value); err == nil {
			t.Errorf("%.20q was accepted", c.name)
		}
	}
	accepted := 0
	for i := range maxEnv + 10 {
		if s.Setenv(fmt.Sprint("N", i), "x") == nil {
			accepted++
		}
	}
	out, err := s.Output("done")
	var exit *ssh.ExitError
	if !errors.As(err, &exit) || exit.ExitStatus() != 7 || accepted != maxEnv {
		t.Errorf("%v, %d were accepted", err, accepted)
	}
	if want := fmt.Sprintf("done %d", maxEnv+2); string(out) != want { // two are of our own
		t.Errorf("%q, want %q", out, want)
	}
}

// TestChannelsAreBounded: a client that opens thousands is refused some, and the
// others go on.
func TestChannelsAreBounded(t *testing.T) {
	c := client(t)
	var sessions []*ssh.Session
	for range maxChannels {
		s, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, s)
	}
	for range 1000 {
		_, err := c.NewSession()
		var refused *ssh.OpenChannelError
		if !errors.As(err, &refused) || refused.Reason != ssh.ResourceShortage {
			t.Fatalf("%v", err)
		}
	}
	if out, err := sessions[9].Output("still"); string(out) != "still 2" {
		t.Errorf("%q, %v", out, err)
	}
	if _, _, err := c.SendRequest("keepalive@openssh.com", true, nil); err != nil {
		t.Errorf("a keepalive was not answered: %v", err)
	}
}

// echoes is where a server answers with what it gets.
func echoes(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(conn, conn); conn.Close() }()
		}
	}()
	return l.Addr().String()
}

func echo(conn net.Conn) error {
	if _, err := conn.Write([]byte("x")); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, 1))
	return err
}

// clientsOf are two clients of a guest.
func clientsOf(t *testing.T, in guest) (clients [2]*ssh.Client) {
	t.Helper()
	for i := range clients {
		var err error
		if clients[i], err = serveIn(t, in, "root"); err != nil {
			t.Fatal(err)
		}
	}
	return clients
}

// fill opens n connections that work.
func fill(t *testing.T, clients [2]*ssh.Client, to string, n int) (open []net.Conn) {
	t.Helper()
	for i := range n {
		conn, err := clients[i%2].Dial("tcp", to)
		if err == nil {
			t.Cleanup(func() { conn.Close() })
			err = echo(conn)
		}
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, conn)
	}
	return open
}

// TestForwardedConnectionsAreTheGuests: of ssh -L and -R together as many are open as the guest
// has places for, whichever client they are of, and commands are run all the same.
func TestForwardedConnectionsAreTheGuests(t *testing.T) {
	to := echoes(t)
	clients := clientsOf(t, guest{crowd: forward.NewCrowd(3)})
	open := fill(t, clients, to, 3)
	for _, network := range []string{"tcp", "unix"} {
		_, err := clients[0].Dial(network, to)
		var refused *ssh.OpenChannelError
		if !errors.As(err, &refused) || refused.Reason != ssh.ResourceShortage || !strings.Contains(refused.Message, "memory") {
			t.Errorf("one more: %v", err)
		}
	}
	remote, err := clients[0].Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	back, err := net.Dial("tcp", remote.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	_ = back.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := back.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one more of -R: %d, %v", n, err)
	}
	session, err := clients[0].NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if out, _ := session.Output("still"); string(out) != "still 2" {
		t.Errorf("a command: %q", out)
	}
	open[0].Close()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) { // the other end hears of it a moment later
		conn, err := clients[1].Dial("tcp", to)
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the place was not given back: %v", err)
		}
	}
}

// TestASilentForwardedConnectionMakesWay for another, one that is used does not.
func TestASilentForwardedConnectionMakesWay(t *testing.T) {
	to, in := echoes(t), guest{crowd: forward.NewCrowd(2)}
	in.crowd.Silent = 500 * time.Millisecond
	clients := clientsOf(t, in)
	open := fill(t, clients, to, 2)
	time.Sleep(2 * in.crowd.Silent)
	if err := echo(open[0]); err != nil {
		t.Fatal(err)
	}
	fill(t, clients, to, 1)
	if err := echo(open[1]); err == nil {
		t.Error("the silent one has not made way")
	}
	if err := echo(open[0]); err != nil {
		t.Errorf("one that is used has made way: %v", err)
	}
}

func TestForwarding(t *testing.T) {
	c := client(t)
	l, err := c.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		conn, err := l.Accept()
		if err == nil {
			_, _ = io.Copy(conn, conn)
			conn.Close()
		}
	}()
	conn, err := c.Dial("tcp", l.Addr().String()) // there and back again
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "around")
	conn.(interface{ CloseWrite() error }).CloseWrite()
	if got, err := io.ReadAll(conn); string(got) != "around" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("a forwarding that was cancelled still listens")
	}
	if _, err := c.Dial("unix", t.TempDir()+"/nothing"); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("%v", err)
	}
	for i := range maxListeners {
		if _, err := c.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(i, err)
		}
	}
	if _, err := c.Listen("tcp", "127.0.0.1:0"); err == nil {
		t.Error("listeners are not bounded")
	}
}

// TestGarbage: what is no SSH ends the session, and so does silence.
func TestGarbage(t *testing.T) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	here, there := pair(t)
	served := make(chan error, 1)
	go func() { served <- Serve(t.Context(), there, key, guest{}) }()
	go io.Copy(io.Discard, here)
	go func() { _, _ = io.WriteString(here, "GET / HTTP/1.1\r\n\r\n"+strings.Repeat("x", 1<<20)); here.Close() }()
	if err := <-served; err == nil {
		t.Error("garbage was served")
	}
	silent, other := pair(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	go io.Copy(io.Discard, silent)
	if err := Serve(ctx, other, key, guest{}); err == nil {
		t.Error("silence was served")
	}
	silent.Close()
}
