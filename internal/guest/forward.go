package guest

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"

	"banger/api"
	"banger/internal/guest/budget"
	"banger/internal/guest/forward"
	"banger/internal/guest/stdio"
)

// Connect carries a connection of this host to an endpoint in the guest, until both
// directions have ended. If the guest refuses, or anything fails, Connect resets conn and
// returns the reason, which wraps the system's own error if it is known.
func (c *Client) Connect(ctx context.Context, conn net.Conn, to stdio.Endpoint) error {
	return c.carry(ctx, conn, stdio.Open{Connect: &to}, nil)
}

// carry joins a connection to a session of the kinds Connect and Accept.
func (c *Client) carry(ctx context.Context, conn net.Conn, open stdio.Open, place *forward.Place) error {
	s, err := c.open(ctx, open)
	if err != nil {
		forward.Abort(conn)
		return err
	}
	defer s.Close()
	caller := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-s.ended:
			if s.err != nil {
				cancel() // also drops what was not read yet: it is incomplete
			}
		case <-ctx.Done():
		}
	}()
	err = forward.Join(ctx, conn, s.mux.In(stdio.Stdout), s.mux.Out(stdio.Stdin), place)
	if err == nil || errors.Is(err, io.ErrClosedPipe) { // the session is over, or about to be
		if _, why := s.Wait(caller); why != nil || err == nil {
			return why
		}
	}
	if caller.Err() != nil {
		return api.Errorf(contextKind(caller), "the connection was cancelled: %w", context.Cause(caller))
	}
	select {
	case <-s.ended:
		if s.err != nil {
			return s.err
		}
	default:
	}
	return err
}

// Forward carries the connections accepted by l to an endpoint in the guest, until l is
// closed or ctx ends; it closes l. It calls failed for every connection that broke. At the
// limit a new connection waits, and further ones wait in the kernel's queue of the socket,
// until one ends, or until an idle one is closed to make room.
func (c *Client) Forward(ctx context.Context, l net.Listener, to stdio.Endpoint, failed func(error)) error {
	crowd := c.Crowd
	if crowd == nil {
		crowd = forward.NewCrowd(budget.MaxConnections)
	}
	return serve(ctx, l, crowd, func(one context.Context, conn net.Conn, place *forward.Place) {
		if err := c.carry(one, conn, stdio.Open{Connect: &to}, place); err != nil && ctx.Err() == nil {
			failed(err)
		}
	})
}

var errMadeWay = errors.New("it was idle for the longest time when others needed its place")

// serve carries connections, as many at once as there are places.
func serve(ctx context.Context, l net.Listener, crowd *forward.Crowd, carry func(context.Context, net.Conn, *forward.Place)) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	defer l.Close()
	var work sync.WaitGroup
	defer work.Wait()
	for {
		conn, err := forward.Accept(l)
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			return err
		}
		one, end := context.WithCancelCause(ctx)
		place := crowd.Wait(ctx, func() { end(errMadeWay) })
		if place == nil {
			end(nil)
			forward.Abort(conn)
			return nil
		}
		work.Go(func() {
			defer end(nil)
			defer place.Leave()
			carry(one, conn, place)
		})
	}
}

// Reversed is a port in the guest that leads to this host.
type Reversed struct {
	Address string // its address there
	client  *Client
	session *Session
	told    *bufio.Reader
	id      string
}

// maxTaken bounds the report of a connection, in bytes: it holds two addresses.
const maxTaken = 4 << 10

// Listen makes the agent listen in the guest.
func (c *Client) Listen(ctx context.Context, at stdio.Endpoint) (*Reversed, error) {
	r := &Reversed{client: c, id: rand.Text()}
	var err error
	if r.session, err = c.open(ctx, stdio.Open{Listen: &stdio.Listen{Endpoint: at, ID: r.id}}); err != nil {
		return nil, err
	}
	r.told = bufio.NewReaderSize(r.session.Stdout, maxTaken)
	first, err := r.next(ctx)
	if err != nil {
		r.session.Close()
		return nil, err
	}
	r.Address = first.Address
	return r, nil
}

// next reads the agent's next report, a line of JSON.
func (r *Reversed) next(ctx context.Context) (stdio.Taken, error) {
	var t stdio.Taken
	line, err := r.told.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		err = fmt.Errorf("a line has more than %d bytes", maxTaken)
	case err != nil:
		return t, r.reason(ctx, err)
	default:
		err = json.Unmarshal(line, &t)
	}
	if err != nil {
		return t, api.Errorf(api.KindInternal, "cannot read the guest's reports of connections: %w", err)
	}
	return t, nil
}

// reason returns why the session has ended.
func (r *Reversed) reason(ctx context.Context, err error) error {
	if _, waited := r.session.Wait(ctx); waited != nil {
		return waited
	}
	return api.Errorf(api.KindInternal, "the guest's agent does not listen any more: %w", err)
}

// Serve connects accepted connections to an endpoint of this host, until ctx ends or the
// agent does not listen any more. It calls failed for every connection that broke.
func (r *Reversed) Serve(ctx context.Context, to stdio.Endpoint, failed func(error)) error {
	defer r.Close()
	stop := context.AfterFunc(ctx, func() { r.session.cancel() })
	defer stop()
	var work sync.WaitGroup
	defer work.Wait()
	room := make(chan struct{}, budget.MaxConnections)
	for {
		t, err := r.next(ctx)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		work.Go(func() {
			defer func() { <-room }()
			if err := r.carry(ctx, t.Number, to); err != nil && ctx.Err() == nil {
				failed(err)
			}
		})
	}
}

// Close ends listening.
func (r *Reversed) Close() error { return r.session.Close() }

// carry accepts one connection. If the endpoint cannot be reached, it is reset in the guest.
func (r *Reversed) carry(ctx context.Context, number int, to stdio.Endpoint) error {
	open := stdio.Open{Accept: &stdio.Accept{ID: r.id, Number: number}}
	conn, err := forward.Dial(ctx, to)
	if err == nil {
		return r.client.carry(ctx, conn, open, nil)
	}
	open.Accept.Refuse = true
	if s, openErr := r.client.open(ctx, open); openErr == nil {
		_, _ = s.Wait(ctx)
		s.Close()
	}
	return err
}

// Ports lists what listens in the guest.
func (c *Client) Ports(ctx context.Context) ([]api.ListeningPort, error) {
	s, err := c.open(ctx, stdio.Open{Ports: &stdio.Ports{}})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var list []api.ListeningPort
	decodeErr := json.NewDecoder(io.LimitReader(s.Stdout, maxPorts)).Decode(&list)
	if _, err := s.Wait(ctx); err != nil {
		return nil, err
	}
	if decodeErr != nil {
		return nil, api.Errorf(api.KindInternal, "cannot read the guest's list of ports: %w", decodeErr)
	}
	return list, nil
}

// maxPorts bounds a list of ports: the agent's longest has 10,000 of some 200 bytes.
const maxPorts = 4 << 20

// systemError is an error of the guest's system.
type systemError struct {
	err    *api.Error
	number syscall.Errno
}

func (e *systemError) Error() string   { return e.err.Error() }
func (e *systemError) Unwrap() []error { return []error{e.err, e.number} }
