package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"banger/internal/guest/forward"
)

const (
	// crowdTime bounds each thing that a crowd does: emulated guests on a busy machine are slow.
	crowdTime = 5 * time.Minute
	// crowdCarries is what a connection carries there and back, in bytes.
	crowdCarries = 128 << 10
)

// crowd is the connections to a published port that a script has open.
type crowd struct {
	members []*member
	began   time.Time
	left    int // how many are not reset
}

// member is one of them.
type member struct {
	conn  *net.TCPConn
	kind  string
	begun chan struct{} // closed when it has done what it does at first
	err   error         // what kept it from that
}

// kinds are what members do, in turn: most are silent from the beginning.
var kinds = []string{"carries", "silent", "silent", "does not read", "silent", "silent", "silent", "silent"}

// command is the command of scripts:
//
//	crowd open PORT N LEFT  open N connections, of which LEFT stay; the others are reset. Some carry something,
//	                        some send without reading, most do nothing
//	crowd echo              those that are left carry something there and back
//	crowd close             they end
func (c *crowd) command(ts *testscript.TestScript, neg bool, args []string) {
	switch {
	case neg:
		ts.Fatalf("crowd has to succeed")
	case len(args) == 4 && args[0] == "open" && c.members == nil:
		n, err := strconv.Atoi(args[2])
		ts.Check(err)
		c.left, err = strconv.Atoi(args[3])
		ts.Check(err)
		ts.Defer(c.close)
		ts.Check(c.open(args[1], n))
		ts.Check(c.shrink())
		ts.Logf("after %s %d of %d connections are left", time.Since(c.began).Round(time.Millisecond), c.left, n)
	case len(args) == 1 && args[0] == "echo":
		ts.Check(c.echo())
	case len(args) == 1 && args[0] == "close":
		c.close()
	default:
		ts.Fatalf("usage: crowd open PORT N LEFT|echo|close")
	}
}

// open opens n connections at once.
func (c *crowd) open(port string, n int) error {
	c.began = time.Now()
	for i := range n {
		conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", port))
		if errors.Is(err, syscall.ECONNRESET) {
			continue
		}
		if err != nil {
			return err
		}
		m := &member{conn: conn.(*net.TCPConn), kind: kinds[i%len(kinds)], begun: make(chan struct{})}
		c.members = append(c.members, m)
		go m.begin()
	}
	return nil
}

func (m *member) begin() {
	defer close(m.begun)
	switch m.kind {
	case "carries":
		m.err = m.carry()
	case "does not read":
		// As much as the buffers on the way hold: it ends with the connection.
		_, _ = m.conn.Write(make([]byte, 64*crowdCarries))
	}
}

// carry sends something, and wants it back.
func (m *member) carry() error {
	if err := m.conn.SetDeadline(time.Now().Add(crowdTime)); err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() {
		_, err := m.conn.Write(make([]byte, crowdCarries))
		sent <- err
	}()
	_, err := io.CopyN(io.Discard, m.conn, crowdCarries)
	return errors.Join(err, <-sent)
}

// staying are the members that are not reset.
func (c *crowd) staying() []*member {
	return slices.DeleteFunc(slices.Clone(c.members), func(m *member) bool { return isReset(m.conn) })
}

// shrink waits until as many members are reset as cannot stay. By then none has been silent for
// so long that it has to make way: a guest that is full refuses at once.
func (c *crowd) shrink() error {
	for {
		switch n, took := len(c.staying()), time.Since(c.began); {
		case n < c.left:
			return fmt.Errorf("only %d connections are left after %s, not %d", n, took, c.left)
		case took > forward.SilentFor:
			return fmt.Errorf("%d connections are left after %s, not %d: they are not refused at once", n, took, c.left)
		case n == c.left:
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// isReset says whether the other end has broken a connection (poll(2)).
func isReset(conn *net.TCPConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return true
	}
	state := []unix.PollFd{{}}
	err = raw.Control(func(fd uintptr) {
		state[0].Fd = int32(fd)
		_, _ = unix.Poll(state, 0) // interrupted, it says nothing: the next look does
	})
	return err != nil || state[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
}

// echo has those that are left carry something, all at once; none is lost.
func (c *crowd) echo() error {
	var all sync.WaitGroup
	staying := c.staying()
	errs, done := make([]error, len(staying)), map[string]int{}
	for i, m := range staying {
		done[m.kind]++
		if m.kind == "does not read" {
			continue
		}
		all.Go(func() {
			<-m.begun
			errs[i] = errors.Join(m.err, m.carry())
		})
	}
	all.Wait()
	for _, kind := range kinds {
		if done[kind] == 0 {
			errs = append(errs, fmt.Errorf("none that %s is left", kind))
		}
	}
	for _, m := range staying {
		if isReset(m.conn) {
			errs = append(errs, fmt.Errorf("one that %s was reset", m.kind))
		}
	}
	return errors.Join(errs...)
}

func (c *crowd) close() {
	for _, m := range c.members {
		m.conn.Close()
		<-m.begun
	}
	c.members = nil
}
