package instance

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/guest/agentproto"
	"banger/internal/vm/tasks"
)

// deaf is a machine whose agent misses the first connections.
type deaf struct {
	driver.Machine
	misses int
	done   chan struct{}
}

func (d *deaf) Done() <-chan struct{} { return d.done }
func (d *deaf) PID() int              { return 1 }

func (d *deaf) DialGuest(ctx context.Context) (net.Conn, error) {
	host, guest := net.Pipe()
	d.misses--
	go func() {
		defer guest.Close()
		if d.misses < 0 {
			if session, _, err := agentproto.NewListener(guest, "a boot", "v1").Accept(); err == nil {
				_, _ = io.Copy(io.Discard, session)
			}
			return
		}
		_, _ = io.Copy(io.Discard, guest)
	}()
	return host, nil
}

// TestLinkIsTriedAgain: a guest that does not answer a connection may answer the next.
func TestLinkIsTriedAgain(t *testing.T) {
	group := tasks.New()
	s := New(Options{Logger: slog.New(slog.DiscardHandler), Answer: 20 * time.Millisecond}, group)
	m := &deaf{misses: 2, done: make(chan struct{})}
	r := s.New("0123456789ab", func() api.VM { return api.VM{} }, m)
	begin := time.Now()
	s.links.Go(func() { s.keepLink(r) })
	select {
	case <-r.up:
	case <-time.After(time.Minute):
		t.Fatal("there is no link")
	}
	if took := time.Since(begin); took < 2*s.Answer {
		t.Errorf("there is a link after %s", took)
	}
	close(m.done)
	s.AwaitLinks()
	group.Stop()
	group.Wait()
}
