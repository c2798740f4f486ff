package agent

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"banger/api"
	"banger/internal/guest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// rig is an agent with limits of the test's own.
type rig struct {
	t  *testing.T
	s  *server
	wg sync.WaitGroup
}

func newRig(t *testing.T, l limits) *rig {
	t.Helper()
	return newRigWith(t, l, Options{})
}

func newRigWith(t *testing.T, l limits, o Options) *rig {
	t.Helper()
	o.Root, o.BootID = t.TempDir(), "b"
	s, err := newServer(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	s.sessions.limits = l
	r := &rig{t: t, s: s}
	t.Cleanup(func() { s.close(); r.wg.Wait() })
	return r
}

// link connects a daemon.
func (r *rig) link() *guest.Link {
	here, there := net.Pipe()
	return r.linkBy(here, there)
}

func (r *rig) linkBy(here, there net.Conn) *guest.Link {
	r.t.Helper()
	r.wg.Go(func() { r.s.serveConn(there) })
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	link, err := guest.Connect(ctx, here, "test")
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { link.Close() })
	return link
}

func (r *rig) exec(dial guest.Dial, argv ...string) *guest.Session {
	r.t.Helper()
	s, err := (&guest.Client{Dial: dial}).Exec(r.t.Context(), api.Exec{Argv: argv})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { s.Close() })
	return s
}

// sessionsLeft waits until the agent has n sessions and returns how long it took.
func (r *rig) sessionsLeft(n int) time.Duration {
	r.t.Helper()
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		left := r.s.sessions.count()
		took := time.Since(began)
		if left == n {
			return took
		}
		if took > 20*time.Second {
			r.t.Fatalf("%d sessions are left", left)
		}
	}
}

// TestSessionsWaitForTheirClient: how long depends on what broke.
func TestSessionsWaitForTheirClient(t *testing.T) {
	const short, long = 50 * time.Millisecond, time.Hour
	for name, c := range map[string]struct {
		limits
		cut  func(*guest.Link, net.Conn)
		kept bool
	}{
		"the link broke":                   {limits{9, long, short}, func(l *guest.Link, _ net.Conn) { l.Close() }, true},
		"the link broke ten minutes ago":   {limits{9, short, long}, func(l *guest.Link, _ net.Conn) { l.Close() }, false},
		"the channel broke":                {limits{9, long, short}, func(_ *guest.Link, c net.Conn) { c.Close() }, false},
		"the channel broke, then the link": {limits{9, long, 5 * time.Second}, func(l *guest.Link, c net.Conn) { c.Close(); l.Close() }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, c.limits)
			link := r.link()
			var channel net.Conn
			var back atomic.Pointer[guest.Link]
			s := r.exec(func(ctx context.Context) (net.Conn, error) {
				if channel == nil {
					conn, err := link.Open(ctx)
					channel = conn
					return conn, err
				}
				if l := back.Load(); l != nil {
					return l.Open(ctx)
				}
				return nil, errors.New("no daemon runs")
			}, "cat")
			io.WriteString(s.Stdin, "one\n")
			lines := bufio.NewReader(s.Stdout)
			if line, err := lines.ReadString('\n'); err != nil || line != "one\n" {
				t.Fatalf("%q, %v", line, err)
			}
			c.cut(link, channel)
			if !c.kept {
				r.sessionsLeft(0)
				back.Store(r.link())
				if _, err := s.Wait(t.Context()); api.KindOf(err) != api.KindNotFound {
					t.Errorf("the client that came too late is told %v", err)
				}
				return
			}
			time.Sleep(4 * short) // longer than the shorter limit
			back.Store(r.link())
			io.WriteString(s.Stdin, "two\n")
			if line, err := lines.ReadString('\n'); err != nil || line != "two\n" {
				t.Errorf("%q, %v", line, err)
			}
			s.Stdin.Close()
			if exit, err := s.Wait(t.Context()); err != nil || exit.Code != 0 {
				t.Errorf("%+v, %v", exit, err)
			}
			r.sessionsLeft(0)
		})
	}
}

func TestSessionLimit(t *testing.T) {
	r := newRig(t, limits{3, time.Hour, time.Hour})
	link := r.link()
	var open []*guest.Session
	for range 3 {
		open = append(open, r.exec(link.Open, "cat"))
	}
	r.sessionsLeft(3)
	if err := r.refused(link.Open); api.KindOf(err) != api.KindConflict {
		t.Errorf("one too many gives %v", err)
	}
	open[0].Stdin.Close()
	if _, err := open[0].Wait(t.Context()); err != nil {
		t.Error(err)
	}
	r.sessionsLeft(2)
	if exit, err := r.exec(link.Open, "true").Wait(t.Context()); err != nil || exit.Code != 0 {
		t.Errorf("after one has ended: %+v, %v", exit, err)
	}
}

// refused begins a session and returns why it was not taken, which may be known
// before its request is written.
func (r *rig) refused(dial guest.Dial) error {
	s, err := (&guest.Client{Dial: dial}).Exec(r.t.Context(), api.Exec{Argv: []string{"true"}})
	if err != nil {
		return err
	}
	defer s.Close()
	_, err = s.Wait(r.t.Context())
	return err
}
