// Package guest is the host's side of the agent in the guest: the daemon's link to
// it, and the client that runs commands and copies files through it.
package guest

import (
	"context"
	"net"
	"sync"
	"time"

	"banger/api"
	"banger/internal/guest/agentproto"
)

// Link is the daemon's connection to the agent of one VM. It opens channels.
//
// A daemon that stops closes its links before anything else: the agent then keeps the
// sessions for their clients, which reconnect through the next daemon. A channel that is
// closed while the link is open means that its client is gone.
type Link struct {
	mux     *agentproto.Mux
	ack     agentproto.Ack
	opening chan struct{} // holds one for each channel that is being opened
	// connecting holds one for each of those that is for a forwarded connection.
	connecting chan struct{}

	used    chan struct{} // wakes KeepTime's goroutine; nil without
	keeping sync.WaitGroup
}

// maxOpening bounds the channels that are being opened at once. If the guest answers,
// opening takes no time; if it hangs, opening takes until the link is closed, whether or
// not somebody still waits for it.
const maxOpening = 64

// maxConnecting bounds those of them that are for forwarded connections: whoever reaches a
// published port can begin any number of connections, and commands need places, too.
const maxConnecting = maxOpening * 3 / 4

type connectionKey struct{}

type wakingKey struct{}

// Waking marks a dial that starts the VM first if it is suspended.
func Waking(ctx context.Context) context.Context {
	return context.WithValue(ctx, wakingKey{}, true)
}

// IsWaking reports whether ctx was marked by Waking.
func IsWaking(ctx context.Context) bool { return ctx.Value(wakingKey{}) != nil }

// ForConnection marks a dial as one for a forwarded connection.
func ForConnection(ctx context.Context) context.Context {
	return context.WithValue(ctx, connectionKey{}, true)
}

// IsForConnection reports whether ctx was marked by ForConnection.
func IsForConnection(ctx context.Context) bool { return ctx.Value(connectionKey{}) != nil }

type asideKey struct{}

// Aside marks a dial that is not a use of the guest: a look at it from time to time, before which its
// clock need not be checked.
func Aside(ctx context.Context) context.Context { return context.WithValue(ctx, asideKey{}, true) }

// Connect greets the agent on conn, a new connection to its channel, and waits for the
// answer until ctx ends; the agent may still be starting. The Link owns conn; if Connect
// fails, it closes conn.
func Connect(ctx context.Context, conn net.Conn, version string) (*Link, error) {
	return connect(ctx, conn, agentproto.NewHello(version, time.Now()))
}

// ConnectAs is Connect to a guest that was saved and is to continue as an incarnation, with the identity
// unless it is nil. If the guest is frozen, the agent thaws it once it is that incarnation. Incarnation
// of the Link says what became of it.
func ConnectAs(ctx context.Context, conn net.Conn, version string, as agentproto.Incarnation, id *agentproto.Identity) (*Link, error) {
	hello := agentproto.NewHello(version, time.Now())
	hello.Incarnation, hello.Identity = &as, id
	if !as.Valid() || !id.Valid() {
		conn.Close()
		return nil, api.Errorf(api.KindInvalid, "cannot continue the guest as %+v, %+v: not a valid incarnation", as, id)
	}
	return connect(ctx, conn, hello)
}

func connect(ctx context.Context, conn net.Conn, hello agentproto.Hello) (*Link, error) {
	session, ack, err := agentproto.Greet(ctx, conn, hello)
	if err != nil {
		conn.Close()
		return nil, err
	}
	mux, err := agentproto.HostMux(session)
	if err != nil {
		conn.Close()
		return nil, api.Errorf(api.KindInternal, "cannot talk to the guest's agent: %w", err)
	}
	return &Link{
		mux: mux, ack: ack,
		opening: make(chan struct{}, maxOpening), connecting: make(chan struct{}, maxConnecting),
	}, nil
}

// Open opens a channel. It is a Client's Dial.
func (l *Link) Open(ctx context.Context) (net.Conn, error) {
	if ctx.Value(asideKey{}) == nil {
		select {
		case l.used <- struct{}{}:
		default:
		}
	}
	return l.openChannel(ctx)
}

func (l *Link) openChannel(ctx context.Context) (net.Conn, error) {
	places := []chan struct{}{l.opening}
	if IsForConnection(ctx) {
		places = []chan struct{}{l.connecting, l.opening}
	}
	if err := enter(ctx, places); err != nil {
		return nil, err
	}
	done := make(chan opened)
	go func() {
		l.open(ctx, done)
		leave(places)
	}()
	select {
	case o := <-done:
		if o.err != nil {
			return nil, api.Errorf(api.KindInternal, "cannot open a channel to the guest: %w", o.err)
		}
		return o.conn, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// enter takes a place in each of places, or in none.
func enter(ctx context.Context, places []chan struct{}) error {
	for i, place := range places {
		select {
		case place <- struct{}{}:
		case <-ctx.Done():
			leave(places[:i])
			return ctx.Err()
		}
	}
	return nil
}

func leave(places []chan struct{}) {
	for _, place := range places {
		<-place
	}
}

type opened struct {
	conn net.Conn
	err  error
}

// open opens a channel and sends it to done, or closes it if nobody receives it any more.
func (l *Link) open(ctx context.Context, done chan<- opened) {
	conn, err := l.mux.Open()
	select {
	case done <- opened{conn, err}:
	case <-ctx.Done():
		if err == nil {
			conn.Close()
		}
	}
}

// Done is closed when the link is broken: the VMM or the agent has ended.
func (l *Link) Done() <-chan struct{} { return l.mux.Done() }

// Err returns why the link is broken, or nil while it works.
func (l *Link) Err() error { return l.mux.Err() }

// BootID tells one boot of the guest from the next.
func (l *Link) BootID() string { return l.ack.BootID }

// Incarnation returns which continuation of a saved guest this is, and what the agent has done for it;
// nil and nil: the guest was never saved, or the agent is of an older banger.
func (l *Link) Incarnation() (*agentproto.Incarnation, *agentproto.Done) {
	return l.ack.Incarnation, plainDone(l.ack.Done)
}

// Close closes the link. Sessions in the guest continue and wait for their clients.
func (l *Link) Close() error {
	err := l.mux.Close()
	l.keeping.Wait()
	return err
}
