// Package agent is the guest's side of banger: it answers the host over the agent's channel, and
// runs commands, terminals and copies in sessions that outlive their connections.
package agent

import (
	"cmp"
	"context"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"banger/api"
	"banger/internal/guest/agent/freezer"
	"banger/internal/guest/agent/identity"
	"banger/internal/guest/agent/process"
	"banger/internal/guest/agentproto"
	"banger/internal/guest/budget"
	"banger/internal/guest/forward"
)

// Options configure the agent.
type Options struct {
	Version string
	// BootID identifies this boot of the guest for the host; empty means the kernel's.
	BootID string
	// Root is for a fake guest, which is an ordinary process on the host: commands
	// start there, and paths to copy are resolved beneath it. Empty in a guest.
	Root string
	// OnHello is called at every greeting of the host, before it is answered.
	OnHello func(agentproto.Hello)
	// Incarnate is called instead if the guest was saved and this is a new incarnation of it: it makes
	// the guest differ from others. must names a step that has failed and without which programs must
	// not run; nil: there is none. A nil Incarnate does nothing.
	Incarnate func(agentproto.Hello) (steps []agentproto.Step, must error)
	// Clock sets the clock as requested by the host, and returns the time; nil: without a clock
	// to set.
	Clock func(agentproto.Request) agentproto.Clock
	// Grow makes the file system of the root disk as large as the disk, which has that many bytes
	// or is about to; nil: the guest has no such disk.
	Grow func(ctx context.Context, bytes int64) error
	// Network returns the state of the guest's network device; nil: that is not known.
	Network func() *api.GuestNetwork
	// Shutdown ends the guest. It is called once the request has been answered.
	Shutdown func(agentproto.Request)
	// Patience is called when Serve ends, and returns how long commands may take to end; 0, or a
	// nil Patience: as long as when their client disconnects.
	Patience func() time.Duration
	// Console receives the output of the guest's main command, and how it ended; nil: dropped.
	Console io.Writer
	// Reaper waits for child processes. nil means a new one during Serve, which reaps orphans, too,
	// if this process is PID 1.
	Reaper *process.Reaper
	// Freezer starts the guest's programs in a cgroup and freezes them; nil: nothing can be frozen.
	Freezer *freezer.Freezer
	// Memory is the guest's memory, in bytes, which determines its budget; 0: the machine's.
	Memory int64
}

// Transport provides the channel to the host: package transport has those of real guests.
type Transport interface {
	// Accept waits for the channel. Serve closes it when the host is gone.
	Accept(ctx context.Context) (agentproto.Conn, error)
}

// Serve answers the host until ctx ends or the transport fails. Then every
// session is hung up.
func Serve(ctx context.Context, o Options, t Transport) error {
	s, err := newServer(ctx, o)
	if err != nil {
		return err
	}
	defer s.close()
	for {
		conn, err := t.Accept(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		s.serveConn(conn)
	}
}

// watched is the channel; if nothing arrives on it, the agent is idle.
type watched struct {
	agentproto.Conn
	rest *budget.Rest
}

func (w watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.rest.Use()
	return n, err
}

// server is a running agent. Each of its parts has a lock of its own.
type server struct {
	Options
	ctx       context.Context
	cancel    context.CancelFunc
	work      sync.WaitGroup // everything that close waits for
	rest      budget.Rest
	programs  *process.Runner
	main      mainState
	sessions  *sessions
	tasks     *tasks
	listeners *listeners
	self      identity.Current
}

func newServer(ctx context.Context, o Options) (*server, error) {
	if o.BootID == "" {
		id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
		if err != nil {
			return nil, err
		}
		o.BootID = string(id[:max(0, len(id)-1)])
	}
	if o.Console == nil {
		o.Console = io.Discard
	}
	room := budget.OfGuest(cmp.Or(o.Memory, budget.Memory()))
	s := &server{Options: o, listeners: newListeners()}
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.programs = process.New(s.ctx, process.Options{Root: o.Root, Reaper: o.Reaper, Patience: o.Patience, Spawn: o.spawn()})
	s.sessions = newSessions(s.ctx, limits{room.Sessions, detachedFor, lostFor}, forward.NewCrowd(room.Connections))
	s.sessions.frozen = o.Freezer.Frozen
	s.tasks = newTasks(s.ctx, &s.work, s.programs)
	return s, nil
}

// spawn is how programs start: by the Freezer, if there is one.
func (o Options) spawn() func(context.Context, *syscall.SysProcAttr, func() error) error {
	if o.Freezer == nil {
		return nil
	}
	return o.Freezer.Spawn
}

// serveConn serves one channel until the host is gone. It may greet several
// times on it.
func (s *server) serveConn(conn agentproto.Conn) {
	defer conn.Close()
	stop := context.AfterFunc(s.ctx, func() { conn.Close() })
	defer stop()
	l := agentproto.NewListener(watched{conn, &s.rest}, s.BootID, s.Version)
	l.OnHello = s.greeted
	for {
		session, _, err := l.Accept()
		if err != nil {
			return
		}
		mux, err := agentproto.AgentMux(session)
		if err != nil {
			return
		}
		s.serveMux(mux)
	}
}

func (s *server) serveMux(mux *agentproto.Mux) {
	defer mux.Close()
	stop := context.AfterFunc(s.ctx, func() { mux.Close() })
	defer stop()
	for {
		channel, err := mux.Accept()
		if err != nil {
			return
		}
		s.work.Go(func() {
			defer channel.Close()
			s.serveChannel(mux, channel)
		})
	}
}

func (s *server) serveChannel(mux *agentproto.Mux, channel net.Conn) {
	var req agentproto.Request
	if err := agentproto.ReadMessage(channel, &req); err != nil {
		return
	}
	if req.Op == agentproto.OpStream {
		s.serveStream(mux, channel)
		return
	}
	if req.Op == agentproto.OpEcho {
		_, _ = io.Copy(channel, channel) // until the host closes it
		return
	}
	answer := s.answer(req)
	if agentproto.WriteMessage(channel, answer) == nil && req.Op == agentproto.OpShutdown && s.Shutdown != nil {
		// The host reads the answer, then closes: the answer must be sent before the guest ends.
		_, _ = channel.Read(make([]byte, 1))
		s.Shutdown(req)
	}
}

// answer answers a one-shot request.
func (s *server) answer(req agentproto.Request) (answer agentproto.Response) {
	switch req.Op {
	case agentproto.OpHealth:
		answer.Health = s.health()
	case agentproto.OpClock:
		if s.Clock == nil {
			answer.Error = api.Errorf(api.KindUnsupported, "this guest does not have its own clock")
			break
		}
		clock := s.Clock(req)
		answer.Clock = &clock
	case agentproto.OpGrow:
		if s.Grow == nil {
			answer.Error = api.Errorf(api.KindUnsupported, "this guest does not have its own disk")
			break
		}
		answer.Error = api.AsError(s.Grow(s.ctx, req.DiskBytes))
	case agentproto.OpFreeze:
		frozen, err := s.Freezer.Freeze(s.ctx, req.Attempt)
		if answer.Error = api.AsError(err); err == nil {
			answer.Frozen = &frozen
		}
	case agentproto.OpThaw:
		thawed, err := s.Freezer.Thaw(req.Attempt)
		if answer.Error = api.AsError(err); err == nil {
			answer.Thawed = &thawed
		}
	case agentproto.OpShutdown:
		if s.Shutdown == nil {
			answer.Error = api.Errorf(api.KindUnsupported, "this guest cannot be shut down from within")
		}
	default:
		answer.Error = api.Errorf(api.KindUnsupported, "the guest's agent does not know the request %q", req.Op)
	}
	return answer
}

// close hangs up every session and waits for what serves them.
func (s *server) close() {
	s.cancel()
	s.Freezer.Close() // a frozen program cannot end
	s.work.Wait()
	s.rest.Stop()
	s.programs.Close()
}

// FromListener serves the connections of a listener, one at a time: vsock, or the
// socket of a fake guest.
func FromListener(l net.Listener) Transport { return listenerTransport{l} }

type listenerTransport struct{ net.Listener }

// Accept waits for the next connection.
func (t listenerTransport) Accept(ctx context.Context) (agentproto.Conn, error) {
	stop := context.AfterFunc(ctx, func() { t.Close() })
	defer stop()
	conn, err := t.Listener.Accept()
	if err != nil {
		return nil, cmp.Or(ctx.Err(), err)
	}
	return conn, nil
}
