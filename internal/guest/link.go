// Package guest is the host's side of the agent in the guest: the daemon's link to
// it, and the client that runs commands and copies files through it.
package guest

import (
	"context"
	"net"
	"time"

	"banger/api"
	"banger/internal/agentproto"
)

// Link is the daemon's connection to the agent of one VM. It opens channels.
//
// A daemon that ends on purpose closes its links before anything else: the agent
// then keeps the sessions for their clients, who come back by the next daemon. A
// channel that is closed while the link lives says that its client is gone.
type Link struct {
	mux *agentproto.Mux
	ack agentproto.Ack
}

// Connect greets the agent on conn, a fresh connection to its channel, and waits
// as long as ctx allows; the agent may still be starting. Link owns conn then;
// where Connect fails, conn is closed.
func Connect(ctx context.Context, conn net.Conn, version string) (*Link, error) {
	session, ack, err := agentproto.Greet(ctx, conn, agentproto.NewHello(version, time.Now()))
	if err != nil {
		conn.Close()
		return nil, err
	}
	mux, err := agentproto.HostMux(session)
	if err != nil {
		conn.Close()
		return nil, api.Errorf(api.KindInternal, "cannot talk to the guest's agent: %w", err)
	}
	return &Link{mux: mux, ack: ack}, nil
}

// Open opens a channel: what a Client dials.
func (l *Link) Open(ctx context.Context) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	opened := make(chan result, 1)
	go func() {
		conn, err := l.mux.Open()
		opened <- result{conn, err}
	}()
	select {
	case r := <-opened:
		if r.err != nil {
			return nil, api.Errorf(api.KindInternal, "cannot open a channel to the guest: %w", r.err)
		}
		return r.conn, nil
	case <-ctx.Done():
		go func() {
			if r := <-opened; r.err == nil {
				r.conn.Close()
			}
		}()
		return nil, ctx.Err()
	}
}

// Done is closed when the link is dead: the VMM ended, or the agent.
func (l *Link) Done() <-chan struct{} { return l.mux.Done() }

// Err says why the link is dead; nil while it lives.
func (l *Link) Err() error { return l.mux.Err() }

// BootID tells one boot of the guest from the next.
func (l *Link) BootID() string { return l.ack.BootID }

// AgentVersion is the version of the agent.
func (l *Link) AgentVersion() string { return l.ack.Version }

// Close closes the link. Sessions in the guest go on and wait for their clients.
func (l *Link) Close() error { return l.mux.Close() }
