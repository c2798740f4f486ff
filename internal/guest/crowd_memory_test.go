package guest_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	osexec "os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"banger/internal/guest"
	"banger/internal/guest/agent"
	"banger/internal/guest/budget"
)

// The agent and the forwarder are processes of their own here, as in life: so what each
// of them takes can be told.

// childEnv says what this process is to be, where it is not the test: a name, and its
// arguments in childArgs.
const childEnv, childArgs = "BANGER_GUEST_TEST_CHILD", "BANGER_GUEST_TEST_ARGS"

// childMain runs a child, which ends when its standard input does.
func childMain() {
	debug.SetGCPercent(50) // as in life
	args := strings.Split(os.Getenv(childArgs), "|")
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	switch os.Getenv(childEnv) {
	case "":
		cancel()
		return
	case "agent":
		l, err := net.Listen("unix", args[0])
		if err == nil {
			err = agent.Serve(ctx, agent.Options{Root: args[1], BootID: "b"}, agent.FromListener(l))
		}
		childEnd(err)
	case "forwarder":
		dial := func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", args[0])
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err == nil {
			fmt.Println(l.Addr())
			err = (&guest.Client{Dial: watch(dial)}).Forward(ctx, l, tcpAt(args[1]), func(error) {})
		}
		childEnd(err)
	}
}

// watch is what package publish does.
func watch(dial guest.Dial) guest.Dial {
	rest := &budget.Rest{}
	return func(ctx context.Context) (net.Conn, error) {
		conn, err := dial(ctx)
		return watched{conn, rest}, err
	}
}

type watched struct {
	net.Conn
	rest *budget.Rest
}

func (w watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.rest.Use()
	return n, err
}

func childEnd(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// child starts this program as a child, and returns it with its standard output.
func child(t testing.TB, name, args string) (pid int, stdout io.Reader) {
	t.Helper()
	c := osexec.Command(os.Args[0])
	c.Env = append(os.Environ(), childEnv+"="+name, childArgs+"="+args)
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := c.Wait(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
	return c.Process.Pid, out
}

// trio is an agent and a forwarder in processes of their own, and the daemon's part
// between them in the test.
type trio struct {
	agent, forwarder int // process ids
	near             string
	link             *guest.Link
}

func newTrio(t testing.TB, server string) trio {
	t.Helper()
	dir := t.TempDir()
	agentSocket, daemonSocket := filepath.Join(dir, "a"), filepath.Join(dir, "d")
	var w trio
	w.agent, _ = child(t, "agent", agentSocket+"|"+dir)
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("unix", agentSocket); err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			w.link, err = guest.Connect(ctx, conn, "test")
			cancel()
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		if time.Since(began) > 10*time.Second {
			t.Fatal("the agent does not listen")
		}
	}
	l, err := net.Listen("unix", daemonSocket)
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	work.Go(func() { relayAll(l, w.link, &work) })
	t.Cleanup(func() { l.Close(); w.link.Close(); work.Wait() })
	var out io.Reader
	w.forwarder, out = child(t, "forwarder", daemonSocket+"|"+server)
	line := make([]byte, 64)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	w.near = string(bytes.TrimSpace(line[:n]))
	return w
}

func relayAll(l net.Listener, link *guest.Link, work *sync.WaitGroup) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		work.Go(func() {
			defer conn.Close()
			channel, err := link.Open(context.Background())
			if err != nil {
				return
			}
			defer channel.Close()
			var one sync.WaitGroup
			one.Go(func() { _, _ = io.Copy(conn, channel); conn.Close(); channel.Close() })
			_, _ = io.Copy(channel, conn)
			channel.Close()
			one.Wait()
		})
	}
}

// anonymous is what a process takes of memory that is nobody else's, in bytes
// (proc_pid_smaps(5)).
func anonymous(t testing.TB, pid int) int64 {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(data) {
		if f := bytes.Fields(line); len(f) == 3 && string(f[0]) == "Anonymous:" {
			n, _ := strconv.ParseInt(string(f[1]), 10, 64)
			return n << 10
		}
	}
	t.Fatal("the kernel does not say how much memory a process has")
	return 0
}

// fall returns what a process takes, in bytes, as soon as that is no more than most, or after
// a minute: it gives memory back when it has been at rest for a while.
func fall(t testing.TB, pid int, most int64) int64 {
	t.Helper()
	for began := time.Now(); ; time.Sleep(250 * time.Millisecond) {
		if now := anonymous(t, pid); now <= most || time.Since(began) > time.Minute {
			return now
		}
	}
}

// TestMemoryOfConnections through a published port: of those that have carried much and are
// silent since, and of those whose client does not read.
func TestMemoryOfConnections(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT RUN: the race detector takes memory of its own")
	}
	var sent atomic.Int64
	kinds := []struct {
		name   string
		conns  int64
		most   int64 // bytes a connection, in each process
		serve  func(net.Conn)
		client func(t *testing.T, conn *net.TCPConn)
	}{
		{"silent", 200, 64 << 10, func(c net.Conn) { _, _ = io.Copy(c, c) }, func(t *testing.T, conn *net.TCPConn) {
			go func() { _, _ = conn.Write(make([]byte, 1<<20)) }()
			if _, err := io.CopyN(io.Discard, conn, 1<<20); err != nil {
				t.Error(err)
			}
		}},
		// What package budget counts for a connection at worst.
		{"not read", 40, 256 << 10, func(c net.Conn) { flood(c, &sent) }, func(_ *testing.T, conn *net.TCPConn) {
			_ = conn.SetReadBuffer(16 << 10)
			for last := int64(-1); last != sent.Load() || last == 0; time.Sleep(time.Second) {
				last = sent.Load()
			}
		}},
	}
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			w := newTrio(t, server(t, kind.serve))
			speakOnce(t, w.near)
			empty := []int64{fall(t, w.agent, 3<<20), fall(t, w.forwarder, 3<<20)}
			var all sync.WaitGroup
			for range kind.conns {
				conn := dialTCP(t, w.near)
				_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
				all.Go(func() { kind.client(t, conn) })
			}
			all.Wait()
			for i, process := range []string{"agent", "forwarder"} {
				full := fall(t, []int{w.agent, w.forwarder}[i], empty[i]+kind.conns*kind.most)
				each := (full - empty[i]) / kind.conns
				t.Logf("%s: %d KiB, with %d connections %d KiB, %d KiB each", process, empty[i]>>10, kind.conns, full>>10, each>>10)
				if each > kind.most {
					t.Errorf("%s: a connection takes %d KiB, want %d at most", process, each>>10, kind.most>>10)
				}
			}
		})
	}
}

// speakOnce opens a connection and closes it, as a warm-up.
func speakOnce(t *testing.T, near string) {
	conn := dialTCP(t, near)
	_, _ = conn.Write([]byte("x"))
	_, _ = conn.Read(make([]byte, 1))
	conn.Close()
}

// flood writes to a connection without end.
func flood(conn net.Conn, sent *atomic.Int64) {
	block := make([]byte, 64<<10)
	for {
		n, err := conn.Write(block)
		sent.Add(int64(n))
		if err != nil {
			return
		}
	}
}
