package systemd

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"

	"github.com/godbus/dbus/v5"

	"banger/api"
)

const (
	service   = "org.freedesktop.systemd1"
	root      = dbus.ObjectPath("/org/freedesktop/systemd1")
	busName   = "org.freedesktop.DBus" // the message bus itself
	manager   = service + ".Manager"
	unitFace  = service + ".Unit"
	svcFace   = service + ".Service"
	propsFace = "org.freedesktop.DBus.Properties"
)

// PID 1 is reached through the message bus, and by root also directly, as systemctl(1)
// does if no message bus runs. The bus is tried first: only through it can a failed
// unit be kept until its state was read.
const (
	systemBus  = "unix:path=/run/dbus/system_bus_socket"
	privateBus = "unix:path=/run/systemd/private"
)

// Bus is a connection to PID 1. It may be used from several goroutines. A broken
// connection, as after an upgrade of the message bus, is made again by the next call.
type Bus struct {
	dial func(context.Context) (*link, error)

	mu   sync.Mutex
	link *link
}

// Connect connects to PID 1.
func Connect(ctx context.Context) (*Bus, error) {
	b := &Bus{dial: dialHost}
	_, err := b.get(ctx)
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Close closes the connection; a later call would make it again.
func (b *Bus) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.link != nil {
		b.link.conn.Close()
		b.link = nil
	}
}

// get returns a connection that is not known to be broken.
func (b *Bus) get(ctx context.Context) (*link, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.link != nil && b.link.conn.Connected() {
		return b.link, nil
	}
	l, err := b.dial(ctx)
	if err != nil {
		return nil, err
	}
	b.link = l
	return l, nil
}

// with runs call, which can be repeated, and runs it again on a new connection if the
// old one turns out to be broken.
func (b *Bus) with(ctx context.Context, call func(*link) error) error {
	l, err := b.get(ctx)
	if err != nil {
		return err
	}
	if err = call(l); err == nil || !l.lost(err) || ctx.Err() != nil {
		return err
	}
	l.conn.Close()
	if l, err = b.get(ctx); err != nil {
		return err
	}
	return call(l)
}

// link is one connection.
type link struct {
	conn *dbus.Conn
	// bus: the message bus is between PID 1 and this process. There others may send
	// signals to this process, and only for the bus's clients systemd counts references
	// to units.
	bus  bool
	jobs jobs
}

// errLost means that the connection broke while a job was running.
var errLost = errors.New("the connection to systemd was lost")

func dialHost(ctx context.Context) (*link, error) {
	l, err := newLink(ctx, systemBus, true)
	if err != nil && os.Geteuid() == 0 {
		if direct, directErr := newLink(ctx, privateBus, false); directErr == nil {
			return direct, nil
		}
	}
	if err != nil {
		return nil, api.Errorf(api.KindUnsupported, "cannot reach systemd: %w", err).
			WithHint("systemctl status dbus")
	}
	return l, nil
}

// newLink connects and starts to listen for the ends of jobs. The connection outlives
// ctx, which only bounds connecting.
func newLink(ctx context.Context, address string, bus bool) (*link, error) {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	giveUp := context.AfterFunc(ctx, end)
	l, err := handshake(life, address, bus)
	if !giveUp() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		end()
		return nil, err
	}
	// The connection's own context ends at Close.
	context.AfterFunc(l.conn.Context(), end)
	return l, nil
}

func handshake(life context.Context, address string, bus bool) (*link, error) {
	conn, err := dbus.Dial(address, dbus.WithContext(life))
	if err != nil {
		return nil, err
	}
	l := &link{conn: conn, bus: bus}
	signals := make(chan *dbus.Signal, 64)
	conn.Signal(signals)
	err = conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Getuid()))})
	var pid1 string
	if err == nil && bus {
		pid1, err = l.join(life)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	go l.jobs.follow(signals, sender{bus: bus, pid1: pid1})
	return l, nil
}

// join makes the connection a client of the message bus that receives the ends of jobs,
// and returns PID 1's unique name there. It subscribes to changes of that name before
// it reads it.
func (l *link) join(life context.Context) (string, error) {
	err := l.conn.Hello()
	if err == nil {
		err = l.conn.AddMatchSignalContext(life, dbus.WithMatchSender(busName), dbus.WithMatchInterface(busName),
			dbus.WithMatchMember(nameOwnerChanged), dbus.WithMatchArg(0, service))
	}
	if err == nil {
		err = l.conn.AddMatchSignalContext(life, dbus.WithMatchSender(service), dbus.WithMatchObjectPath(root),
			dbus.WithMatchInterface(manager), dbus.WithMatchMember(jobRemoved))
	}
	var pid1 string
	if err == nil {
		err = l.conn.BusObject().CallWithContext(life, busName+".GetNameOwner", 0, service).Store(&pid1)
	}
	return pid1, err
}

// call calls a method of the manager and stores its answer in result, unless that is
// nil.
func (l *link) call(ctx context.Context, method string, args []any, answer ...any) error {
	c := l.conn.Object(service, root).CallWithContext(ctx, manager+"."+method, 0, args...)
	if len(answer) == 0 {
		return c.Err
	}
	return c.Store(answer...)
}

// lost reports whether err was caused by the connection: calls then fail with various
// errors.
func (l *link) lost(err error) bool {
	switch errorName(err) {
	case "org.freedesktop.DBus.Error.NoReply", "org.freedesktop.DBus.Error.Disconnected":
		return true // PID 1 executed itself again, or the message bus ended
	}
	return unsent(err) || errors.Is(err, errLost) || !l.conn.Connected()
}

// unsent reports whether a call failed before it reached PID 1.
func unsent(err error) bool {
	return errors.Is(err, dbus.ErrClosed) || errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.EPIPE)
}

func errorName(err error) string {
	var e dbus.Error
	if errors.As(err, &e) {
		return e.Name
	}
	var p *dbus.Error
	if errors.As(err, &p) {
		return p.Name
	}
	return ""
}

func noSuchUnit(err error) bool { return errorName(err) == service+".NoSuchUnit" }

// explain converts an error of systemd to one of package api.
func explain(verb, name string, err error) error {
	if err == nil {
		return nil
	}
	kind := api.KindInternal
	switch errorName(err) {
	case service + ".UnitExists":
		kind = api.KindExists
	case service + ".NoSuchUnit":
		kind = api.KindNotFound
	case "org.freedesktop.DBus.Error.AccessDenied", "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired":
		kind = api.KindDenied
	}
	if errors.Is(err, context.Canceled) {
		kind = api.KindCanceled
	} else if errors.Is(err, context.DeadlineExceeded) {
		kind = api.KindTimeout
	}
	return api.Errorf(kind, "cannot %s %s: %w", verb, name, err)
}
