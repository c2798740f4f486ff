package agent

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/guest/agentproto"
	"banger/internal/guest/forward"
	"banger/internal/guest/stdio"
	"banger/internal/guest/stream"
)

// silentServer accepts connections, and says nothing until their other end closes.
func silentServer(t *testing.T) stdio.Endpoint {
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
			t.Cleanup(func() { conn.Close() })
			go func() {
				_, _ = io.Copy(io.Discard, conn)
				conn.Close()
			}()
		}
	}()
	return stdio.Endpoint{Network: stdio.TCP, Address: l.Addr().String()}
}

// connect carries a connection to a server in the guest, and returns its client's end
// and how it ended.
func (r *rig) connect(dial guest.Dial, to stdio.Endpoint) (net.Conn, chan error) {
	r.t.Helper()
	here, there := net.Pipe()
	ended := make(chan error, 1)
	r.wg.Go(func() { ended <- (&guest.Client{Dial: dial}).Connect(r.t.Context(), there, to) })
	r.t.Cleanup(func() { here.Close() })
	return here, ended
}

func (r *rig) connectionsLeft(n int) {
	r.t.Helper()
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		r.s.sessions.mu.Lock()
		left := r.s.sessions.connections
		r.s.sessions.mu.Unlock()
		if left == n {
			return
		}
		if time.Since(began) > 20*time.Second {
			r.t.Fatalf("%d connections, want %d", left, n)
		}
	}
}

// TestConnectionsLeaveRoom: when there are as many connections as the guest's memory allows,
// one more is refused at once, and a command is run as ever.
func TestConnectionsLeaveRoom(t *testing.T) {
	r := newRig(t, limits{1, time.Hour, time.Hour})
	r.s.sessions.crowd = forward.NewCrowd(3)
	link, to := r.link(), silentServer(t)
	first, _ := r.connect(link.Open, to)
	for range 2 {
		r.connect(link.Open, to)
	}
	r.connectionsLeft(3)
	for range 5 {
		_, ended := r.connect(link.Open, to)
		select {
		case err := <-ended:
			if api.KindOf(err) != api.KindConflict || !strings.Contains(err.Error(), "3 open connections") {
				t.Errorf("one too many: %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("one too many is not refused at once")
		}
	}
	if exit, err := r.exec(link.Open, "true").Wait(t.Context()); err != nil || exit.Code != 0 {
		t.Errorf("a command among them: %+v, %v", exit, err)
	}
	first.Close()
	r.connectionsLeft(2)
	r.connect(link.Open, to)
	r.connectionsLeft(3)
}

// TestConnectionOfAnOlderClient, which does not say beforehand what it carries: it is one of
// the connections all the same, and no session besides.
func TestConnectionOfAnOlderClient(t *testing.T) {
	r := newRig(t, limits{1, time.Hour, time.Hour})
	r.s.sessions.crowd = forward.NewCrowd(1)
	link, to := r.link(), silentServer(t)
	for i, want := range []bool{true, false} {
		conn, err := link.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := agentproto.WriteMessage(conn, agentproto.Request{Op: agentproto.OpStream}); err != nil {
			t.Fatal(err)
		}
		pipe := stream.New(stream.NewID())
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		r.wg.Go(func() { _ = pipe.Attach(conn, nil) })
		t.Cleanup(func() { pipe.Close() })
		if err := stdio.WriteOpen(pipe, stdio.Open{Connect: &to}); err != nil {
			t.Fatal(err)
		}
		if want {
			r.connectionsLeft(1)
			continue
		}
		m := stdio.New(pipe, stdio.Handler{Exit: func(e stdio.Exit) {
			if e.Error == nil || e.Error.Kind != api.KindConflict {
				t.Errorf("connection %d: %+v", i, e)
			}
			cancel()
		}}, stdio.Stdout, stdio.Stderr)
		r.wg.Go(func() { _ = m.Run() })
		<-ctx.Done()
	}
	r.connectionsLeft(1)
	// The one that was refused waits for its client to read all, unless that has happened.
	if n := r.s.sessions.count(); n < 1 || n > 2 {
		t.Errorf("%d sessions", n)
	}
}
