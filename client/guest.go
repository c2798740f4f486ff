package client

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/guest/forward"
	"banger/internal/guest/stdio"
	"banger/internal/imageconfig"
)

// Guest is the inside of one running VM: its commands, files and ports. Sessions survive a
// restart of the daemon. From its first session on a Guest refers to that VM, even if the VM
// is renamed.
type Guest struct {
	c      *Client
	agent  guest.Client
	newest atomic.Pointer[opened] // of its channels
}

// Guest returns the inside of the VM of a name or id. It makes no request.
func (c *Client) Guest(ref string) *Guest {
	g := &Guest{c: c}
	g.newest.Store(&opened{id: ref, name: ref})
	g.agent = guest.Client{Unresponsive: c.unresponsive, VM: g.Name, Dial: g.Dial, Complete: g.Complete}
	return g
}

// Name returns the VM's name, or what Guest was called with if there was no session yet.
func (g *Guest) Name() string { return g.newest.Load().name }

// Dial opens a channel to banger's agent in the guest, for programs that speak the agent's
// protocol themselves. All other methods do it on their own.
func (g *Guest) Dial(ctx context.Context) (net.Conn, error) {
	known := g.newest.Load()
	conn, err := g.c.t.channel(ctx, known.id)
	switch {
	case err == nil:
		g.newest.Store(&conn.opened)
		return conn, nil
	case api.KindOf(err) == api.KindNotFound && known.name != known.id:
		err = api.Errorf(api.KindNotFound, "VM %s was deleted", known.name) // the user has not typed the id
	}
	return nil, err
}

// Complete adds to a command what the VM's image says about its commands, as Exec does. The
// image is known after the first Dial.
func (g *Guest) Complete(exec api.Exec) api.Exec {
	return imageconfig.Complete(g.newest.Load().image, exec)
}

// Health is what the agent says about its guest.
type Health struct {
	BootID           string     // of this start of the guest
	Version          string     // of the agent
	Hostname         string     // of the guest
	Init             string     // what is process 1: "agent", or the name of its program
	UptimeSeconds    float64    // since this start
	Load             [3]float64 // averages of 1, 5 and 15 minutes (proc_loadavg(5))
	MemoryBytes      int64      // of the guest
	MemoryAvailable  int64      // in bytes, for new programs
	Sessions         int        // how many there are
	AgentMemoryBytes int64      // resident
	AgentGoroutines  int        // how many the agent has

	Network *api.GuestNetwork // nil if the agent is older
	Disk    *api.GuestDisk    // nil if the agent is older
}

// Health asks the agent for the guest's health.
func (g *Guest) Health(ctx context.Context) (Health, error) {
	h, err := g.agent.Health(ctx)
	return Health(h), err
}

// Ping sends some bytes to the agent, waits until they are back, and returns how long that took.
func (g *Guest) Ping(ctx context.Context) (time.Duration, error) { return g.agent.Ping(ctx) }

// Ports lists what listens in the guest.
func (g *Guest) Ports(ctx context.Context) ([]api.ListeningPort, error) { return g.agent.Ports(ctx) }

// Exec starts a command; an empty Argv means a shell. It returns as soon as the request is
// sent; if the command cannot be started, Wait returns the error. The session ends when ctx
// ends.
func (g *Guest) Exec(ctx context.Context, exec api.Exec) (*Session, error) {
	return newSession(g.agent.Exec(ctx, exec))
}

// Start starts a command that continues without a client, and returns the id of its
// session. If it cannot be started, exit is its status, and the reason is written to errs.
func (g *Guest) Start(ctx context.Context, exec api.Exec, errs io.Writer) (id string, exit Exit, err error) {
	id, e, err := g.agent.Start(ctx, exec, errs)
	return id, Exit(e), err
}

// Attach takes a command over from its client, if it has one. rows and cols are the size
// of the client's terminal; 0 if it has none.
func (g *Guest) Attach(ctx context.Context, id string, rows, cols uint16) (*Session, error) {
	return newSession(g.agent.Attach(ctx, id, rows, cols))
}

// Leave makes a command continue when its client disconnects. s, unless nil, is the session
// to end; an older agent in the guest does not end it. The caller has to read the session
// to its end, and to close it.
func (g *Guest) Leave(ctx context.Context, id string, s *Session) error {
	if s == nil {
		return g.agent.Leave(ctx, id, nil)
	}
	return g.agent.Leave(ctx, id, s.s)
}

// SSH opens a connection to the guest's SSH server, which uses the host key with that
// seed (VMs.SSHAccess): Stdin and Stdout are its two directions.
func (g *Guest) SSH(ctx context.Context, hostKey []byte) (*Session, error) {
	return newSession(g.agent.SSH(ctx, hostKey))
}

// CopyOptions say how CopyIn and CopyOut copy.
type CopyOptions struct {
	// Archive preserves owners, if the receiver may set them; otherwise everything belongs
	// to the receiver: to root in the guest.
	Archive bool
	// Warnings, unless nil, receives a line for each entry that was skipped.
	Warnings io.Writer
	// Report, unless nil, receives the progress.
	Report api.Report
}

// CopyIn copies a file or directory of this host into the guest. If the target is a
// directory, the copy gets the source's name in it; otherwise the target is the copy's name.
// A source that ends in "/." means only its contents.
func (g *Guest) CopyIn(ctx context.Context, from, to string, o CopyOptions) error {
	return g.agent.CopyIn(ctx, from, to, guest.CopyOptions(o))
}

// CopyOut copies a file or directory of the guest to this host, as CopyIn does the other way.
func (g *Guest) CopyOut(ctx context.Context, from, to string, o CopyOptions) error {
	return g.agent.CopyOut(ctx, from, to, guest.CopyOptions(o))
}

// Put unpacks a tar stream beneath the directory path in the guest. warnings, unless nil,
// receives a line for each entry that was skipped.
func (g *Guest) Put(ctx context.Context, path string, tar io.Reader, warnings io.Writer) error {
	return g.agent.Put(ctx, path, tar, warnings)
}

// Get returns a path in the guest as a tar stream, whose names begin with the path's last
// element. A later failure is the stream's error, instead of io.EOF.
func (g *Guest) Get(ctx context.Context, path string, warnings io.Writer) (io.ReadCloser, error) {
	return g.agent.Get(ctx, path, warnings)
}

// Endpoint is the target of a connection, or the address on which connections are accepted.
type Endpoint struct {
	Network string // tcp, udp or unix
	// Address is a path for Unix sockets, otherwise HOST:PORT. The default host is the
	// loopback.
	Address string
}

// Listen listens on an endpoint of this host, for Guest.Forward. The datagrams of one sender
// are a connection that preserves their boundaries.
func Listen(ctx context.Context, at Endpoint) (net.Listener, error) {
	return forward.Listen(ctx, stdio.Endpoint(at))
}

// Forward carries the connections accepted by l to an endpoint in the guest, until l is
// closed or ctx ends; it closes l. It calls failed, unless nil, for every connection that
// broke.
func (g *Guest) Forward(ctx context.Context, l net.Listener, to Endpoint, failed func(error)) error {
	if failed == nil {
		failed = func(error) {}
	}
	return g.agent.Forward(ctx, l, stdio.Endpoint(to), failed)
}

// Connect carries a connection of this host to an endpoint in the guest, until both
// directions have ended. If the guest refuses, or anything fails, Connect resets conn and
// returns the reason, which wraps the system's own error if it is known.
func (g *Guest) Connect(ctx context.Context, conn net.Conn, to Endpoint) error {
	return g.agent.Connect(ctx, conn, stdio.Endpoint(to))
}

// Listen listens on an endpoint in the guest.
func (g *Guest) Listen(ctx context.Context, at Endpoint) (*Reversed, error) {
	r, err := g.agent.Listen(ctx, stdio.Endpoint(at))
	if err != nil {
		return nil, err
	}
	return &Reversed{Address: r.Address, r: r}, nil
}

// Reversed is a port in the guest that leads to this host.
type Reversed struct {
	Address string // its address in the guest
	r       *guest.Reversed
}

// Serve connects accepted connections to an endpoint of this host, until ctx ends or the
// agent does not listen any more. It calls failed, unless nil, for every connection that
// broke.
func (r *Reversed) Serve(ctx context.Context, to Endpoint, failed func(error)) error {
	if failed == nil {
		failed = func(error) {}
	}
	return r.r.Serve(ctx, stdio.Endpoint(to), failed)
}

// Close ends listening.
func (r *Reversed) Close() error { return r.r.Close() }

// Exit is how a command ended.
type Exit struct {
	Code   int // exit status, or 128 plus the signal
	Signal int // that killed it, or 0
}

// Session is a command that runs in the guest. The caller has to read both Stdout and
// Stderr to their end; with a terminal all output comes on Stdout.
type Session struct {
	Stdin  io.WriteCloser
	Stdout io.Reader
	Stderr io.Reader

	s *guest.Session
}

func newSession(s *guest.Session, err error) (*Session, error) {
	if err != nil {
		return nil, err
	}
	return &Session{Stdin: s.Stdin, Stdout: s.Stdout, Stderr: s.Stderr, s: s}, nil
}

// ID returns the guest's id of the command that Exec began.
func (s *Session) ID() string { return s.s.ID() }

// Signal sends a signal to the command's process group.
func (s *Session) Signal(sig syscall.Signal) error { return s.s.Signal(sig) }

// Resize sets the size of the command's terminal.
func (s *Session) Resize(rows, cols uint16) error { return s.s.Resize(rows, cols) }

// Done is closed when the command has ended. Its last output may still be unread.
func (s *Session) Done() <-chan struct{} { return s.s.Done() }

// Wait waits for the command's end. The caller has to read its output concurrently.
func (s *Session) Wait(ctx context.Context) (Exit, error) {
	exit, err := s.s.Wait(ctx)
	return Exit(exit), err
}

// Close ends the session; a command that still runs gets SIGHUP. It waits for the
// session's goroutines.
func (s *Session) Close() error { return s.s.Close() }
