package client

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/imageconfig"
)

// channel opens a channel to the agent of a running VM: one connection, one request. The
// daemon relays what follows.
func (t *transport) channel(ctx context.Context, ref string) (conn *streamConn, err error) {
	err = retry(ctx, func() (bool, error) {
		conn, err = t.channelOnce(ctx, ref)
		return cut(err) && ctx.Err() == nil, err
	})
	return conn, err
}

// channelOnce is channel without a retry.
func (t *transport) channelOnce(ctx context.Context, ref string) (*streamConn, error) {
	conn, err := t.dial(ctx)
	if err != nil {
		return nil, guest.Unreached(api.AsError(transportError(err)))
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	upgraded, err := t.upgrade(conn, ref, guest.IsForConnection(ctx), guest.IsWaking(ctx))
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil && ctx.Err() != nil { // the error is then the connection's
		err = api.Errorf(canceledKind(ctx), "cancelled: %w", context.Cause(ctx))
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return upgraded, nil
}

func (t *transport) upgrade(conn net.Conn, ref string, connection, waking bool) (*streamConn, error) {
	path, carries := at("/v1/vms", ref, "stream"), ""
	if connection {
		carries = api.CarriesHeader + ": " + api.CarriesConnection + "\r\n"
	}
	if waking {
		carries += api.WakeHeader + ": " + api.Wake + "\r\n"
	}
	_, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: banger\r\nConnection: Upgrade\r\nUpgrade: %s\r\n%sContent-Length: 0\r\n\r\n",
		path, api.StreamProtocol, carries)
	if err != nil {
		return nil, &brokenError{err}
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodPost})
	if err != nil {
		return nil, &brokenError{err}
	}
	t.compare(resp.Header)
	if resp.StatusCode != http.StatusSwitchingProtocols {
		defer resp.Body.Close()
		return nil, answerError(resp)
	}
	image, err := imageconfig.ParseHeader(resp.Header.Get(imageconfig.Header))
	if err != nil {
		return nil, err
	}
	return &streamConn{Conn: conn, r: r, opened: opened{
		id: cmp.Or(resp.Header.Get(api.VMIDHeader), ref), name: cmp.Or(resp.Header.Get(api.VMNameHeader), ref), image: image,
	}}, nil
}

// opened is what the answer that opens a stream says about the VM. An older daemon sends
// less: both names are then the requested one.
type opened struct {
	id, name string
	image    *api.ImageConfig // its image's configuration for commands; may be nil
}

// streamConn is an upgraded connection: bytes that were read ahead come first.
type streamConn struct {
	net.Conn
	r      *bufio.Reader
	opened opened
}

func (s *streamConn) Read(p []byte) (int, error) {
	if s.r == nil {
		return s.Conn.Read(p)
	}
	if s.r.Buffered() == 0 {
		s.r = nil
		return s.Conn.Read(p)
	}
	return s.r.Read(p)
}

// CloseWrite closes the writing half of the connection.
func (s *streamConn) CloseWrite() error {
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return io.ErrClosedPipe
}
