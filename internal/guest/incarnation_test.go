package guest_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/guest/agent"
	"banger/internal/guest/agent/freezer"
	"banger/internal/guest/agentproto"
	"banger/internal/guest/stream"
)

// savedGuest is an agent whose guest can be an incarnation of a saved one.
type savedGuest struct {
	t    *testing.T
	path string

	mu    sync.Mutex
	told  []agentproto.Hello
	fails error
}

func newSavedGuest(t *testing.T) *savedGuest {
	g := &savedGuest{t: t}
	g.path = startAgent(t, agent.Options{
		Root: t.TempDir(), BootID: "boot", Freezer: freezer.Open(freezer.Options{Dir: fakeCgroups(t)}),
		Incarnate: func(h agentproto.Hello) ([]agentproto.Step, error) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.told = append(g.told, h)
			step := agentproto.Step{Name: agentproto.StepRandom, State: agentproto.StepDone}
			if g.fails != nil {
				step.State, step.Detail = agentproto.StepFailed, g.fails.Error()
			}
			return []agentproto.Step{step}, g.fails
		},
	})
	return g
}

func (g *savedGuest) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fails = err
}

func (g *savedGuest) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.told)
}

// as connects as the host does after it has loaded the guest.
func (g *savedGuest) as(generation uint64, mode agentproto.Mode) *guest.Link {
	g.t.Helper()
	conn, err := net.Dial("unix", g.path)
	if err != nil {
		g.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(g.t.Context(), 20*time.Second)
	defer cancel()
	link, err := guest.ConnectAs(ctx, conn, "test", agentproto.Incarnation{Generation: generation, Lineage: "vm", Mode: mode}, &agentproto.Identity{Hostname: "child"})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { link.Close() })
	return link
}

// freeze freezes the guest, and closes the link.
func (g *savedGuest) freeze(link *guest.Link, attempt string) {
	g.t.Helper()
	if _, err := (&guest.Client{Dial: link.Open}).Freeze(g.t.Context(), attempt); err != nil {
		g.t.Fatal(err)
	}
	link.Close()
}

func thawed(t *testing.T, link *guest.Link) error {
	t.Helper()
	c := &guest.Client{Dial: link.Open, Patience: 50 * time.Millisecond}
	s, err := c.Exec(t.Context(), api.Exec{Argv: []string{"true"}})
	if err != nil {
		return err
	}
	_, _, _, err = result(t, s)
	return err
}

// TestIncarnation: a frozen guest becomes another one before it continues, once.
func TestIncarnation(t *testing.T) {
	g := newSavedGuest(t)
	link := connect(t, g.path)
	if in, done := link.Incarnation(); in != nil || done != nil || link.BootID() != "boot" {
		t.Errorf("%+v, %+v, %s", in, done, link.BootID())
	}
	g.freeze(link, "a")
	link = g.as(3, agentproto.ModeChild)
	in, done := link.Incarnation()
	if in == nil || *in != (agentproto.Incarnation{Generation: 3, Lineage: "vm", Mode: agentproto.ModeChild}) {
		t.Errorf("%+v", in)
	}
	if !done.Frozen || !done.Running || !done.Confirmed(agentproto.StepRandom) || done.Confirmed(agentproto.StepHostname) {
		t.Errorf("%+v", done)
	}
	if err := thawed(t, link); err != nil || link.BootID() != "boot-3" {
		t.Error(err, link.BootID())
	}
	link.Close()
	for _, generation := range []uint64{3, 2} { // told again, and one that has waited in the channel
		link = g.as(generation, agentproto.ModeChild)
		if in, done := link.Incarnation(); g.count() != 1 || in.Generation != 3 || !done.Running {
			t.Errorf("%d, %+v, %+v", g.count(), in, done)
		}
		link.Close()
	}
	link = g.as(4, agentproto.ModeSame) // not frozen
	if _, done := link.Incarnation(); g.count() != 2 || done.Frozen || !done.Running || link.BootID() != "boot-3" {
		t.Errorf("%d, %+v, %s", g.count(), done, link.BootID())
	}
}

// TestIncarnationFailsClosed: without other random numbers no program continues, until another try has
// succeeded.
func TestIncarnationFailsClosed(t *testing.T) {
	g := newSavedGuest(t)
	g.freeze(connect(t, g.path), "a")
	g.fail(errors.New("no generator"))
	link := g.as(1, agentproto.ModeChild)
	if _, done := link.Incarnation(); !done.Frozen || done.Running || done.Confirmed(agentproto.StepRandom) || done.Steps[0].Detail != "no generator" {
		t.Errorf("%+v", done)
	}
	if _, err := (&guest.Client{Dial: link.Open}).Thaw(t.Context(), "a"); api.KindOf(err) != api.KindConflict || !strings.Contains(err.Error(), "no generator") {
		t.Error(err)
	}
	if err := thawed(t, link); err == nil {
		t.Error("a program ran")
	}
	link.Close()
	g.fail(nil)
	link = g.as(1, agentproto.ModeChild)
	if _, done := link.Incarnation(); !done.Running || !done.Confirmed(agentproto.StepRandom) {
		t.Errorf("%+v", done)
	}
	if err := thawed(t, link); err != nil {
		t.Error(err)
	}
}

// TestIncarnationIsChecked: what is not a valid one is not sent.
func TestIncarnationIsChecked(t *testing.T) {
	valid := agentproto.Incarnation{Generation: 1, Mode: agentproto.ModeSame}
	for name, c := range map[string]struct {
		in agentproto.Incarnation
		id *agentproto.Identity
	}{
		"no generation": {agentproto.Incarnation{Mode: agentproto.ModeSame}, nil},
		"no mode":       {agentproto.Incarnation{Generation: 1}, nil},
		"lineage":       {agentproto.Incarnation{Generation: 1, Mode: agentproto.ModeSame, Lineage: strings.Repeat("x", 65)}, nil},
		"host name":     {valid, &agentproto.Identity{Hostname: "a b"}},
	} {
		here, there := net.Pipe()
		defer there.Close()
		if _, err := guest.ConnectAs(t.Context(), here, "test", c.in, c.id); api.KindOf(err) != api.KindInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSessionsOfAnotherTimeline: a command of a guest that was copied continues without its client, and
// can be attached to. In the same guest it keeps its client.
func TestSessionsOfAnotherTimeline(t *testing.T) {
	for _, mode := range []agentproto.Mode{agentproto.ModeSame, agentproto.ModeRewound, agentproto.ModeChild} {
		t.Run(string(mode), func(t *testing.T) {
			g := newSavedGuest(t)
			link := connect(t, g.path)
			var current atomic.Pointer[guest.Link]
			current.Store(link)
			c := &guest.Client{Patience: 20 * time.Second, Dial: func(ctx context.Context) (net.Conn, error) {
				return current.Load().Open(ctx)
			}}
			s, err := c.Exec(t.Context(), api.Exec{Argv: []string{"sh", "-c", "echo begun; read line; echo $line"}})
			if err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, len("begun\n"))
			if _, err := s.Stdout.Read(buf); err != nil || string(buf) != "begun\n" {
				t.Fatal(string(buf), err)
			}
			g.freeze(link, "a")
			next := g.as(1, mode)
			current.Store(next)
			if mode == agentproto.ModeSame {
				s.Stdin.Write([]byte("on\n"))
				if out, _, _, err := result(t, s); out != "on\n" || err != nil {
					t.Errorf("%q, %v", out, err)
				}
				return
			}
			if out, _, _, err := result(t, s); out != "" || err == nil || err.Error() != stream.ErrOtherTimeline.Error() {
				t.Errorf("the client got %q, %v", out, err)
			}
			list, err := (&guest.Client{Dial: next.Open}).Sessions(t.Context())
			if err != nil || len(list) != 1 || list[0].State != api.SessionDetached || !list[0].Kept {
				t.Errorf("%+v, %v", list, err)
			}
		})
	}
}
