package agent

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"syscall"

	"banger/api"
	"banger/internal/guest/forward"
	"banger/internal/guest/stdio"
	"banger/internal/host/fsx"
)

// connecting is a job that carries a connection made by get.
type connecting struct {
	sessions *sessions
	sess     *session
	get      func(ctx context.Context) (net.Conn, error)
	what     string // for errors
}

func (s *server) newConnect(sess *session, e stdio.Endpoint) connecting {
	get := func(ctx context.Context) (net.Conn, error) { return s.dial(ctx, e) }
	return connecting{s.sessions, sess, get, "connect to " + printed(e)}
}

// printed names an endpoint in messages.
func printed(e stdio.Endpoint) string {
	if host, port, err := net.SplitHostPort(e.Address); err == nil && host == "" {
		return "port " + port
	}
	return e.Address
}

func (c connecting) run(ctx context.Context, m *stdio.Mux) stdio.Exit {
	if err := c.sessions.isConnection(c.sess); err != nil {
		return stdio.Exit{Error: api.AsError(err)}
	}
	defer c.sess.place.Leave() // before the client learns of the end: it may connect again at once
	conn, err := c.get(ctx)
	if err == nil {
		err = forward.Join(ctx, conn, m.In(stdio.Stdin), m.Out(stdio.Stdout), c.sess.place)
	}
	if err != nil {
		return stdio.Exit{Error: connectError("cannot "+c.what+" in the guest", err), Errno: errno(err)}
	}
	return stdio.Exit{}
}

func (connecting) signal(int)            {}
func (connecting) resize(uint16, uint16) {}

var errIdle = api.Errorf(api.KindCanceled, "the connection was idle for the longest time when others needed its place")

// dial connects as a program in the guest would.
func (s *server) dial(ctx context.Context, e stdio.Endpoint) (net.Conn, error) {
	switch e.Network {
	case stdio.Unix:
		return fsx.DialUnix(ctx, s.inGuest(e.Address))
	case stdio.TCP, stdio.UDP:
		return forward.Dial(ctx, e)
	}
	return nil, api.Errorf(api.KindUnsupported, "unknown network %.20q", e.Network)
}

// errno returns the number of the system's error in err, or 0.
func errno(err error) int {
	var number syscall.Errno
	if errors.As(err, &number) {
		return int(number)
	}
	return 0
}

// connectError returns why a connection failed or ended.
func connectError(what string, err error) *api.Error {
	var known *api.Error
	if errors.As(err, &known) {
		return known
	}
	kind := api.KindInternal
	var dns *net.DNSError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist), errors.As(err, &dns):
		kind = api.KindNotFound
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		kind = api.KindTimeout
	case errors.Is(err, fs.ErrPermission):
		kind = api.KindDenied
	}
	return api.Errorf(kind, "%s: %w", what, short(err))
}

// short removes the part of an error that repeats the address.
func short(err error) error {
	var number syscall.Errno
	var dns *net.DNSError
	switch {
	case errors.As(err, &number):
		return number
	case errors.As(err, &dns):
		return errors.New(dns.Err)
	}
	return err
}
