// Package roothelper is bangerd-root: it executes the closed list of verbs of package rootapi
// as root, and has no state of its own. The kernel and systemd are its record: whatever it
// creates has the VM's id in its name.
package roothelper

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/faultpoint"
	"banger/internal/rootapi"
)

const (
	// requestTime is how long a client may take to send its request.
	requestTime = 10 * time.Second
	// workTime bounds the work for one request.
	workTime = 60 * time.Second
	// maxConns bounds the concurrent requests.
	maxConns = 64
)

// Server answers requests on a socket.
type Server struct {
	Version string
	Owner   int // user id that may send requests, in addition to root
	Helper  *Helper
	Log     *slog.Logger
}

// Listen creates the socket: it belongs to the owner, with mode 0600.
func Listen(path string, owner, group int) (*net.UnixListener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	// Nobody may connect before the socket has its owner and mode.
	old := unix.Umask(0o177)
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	unix.Umask(old)
	if err != nil {
		return nil, api.Errorf(api.KindInternal, "cannot listen: %w", err)
	}
	l.SetUnlinkOnClose(false) // the path may be a later helper's by then
	if err := os.Lchown(path, owner, group); err != nil {
		l.Close()
		return nil, api.Errorf(api.KindInternal, "cannot give the socket to the owner: %w", err)
	}
	return l, nil
}

// Serve answers requests until ctx ends, and finishes those in progress.
func (s *Server) Serve(ctx context.Context, l *net.UnixListener) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var work sync.WaitGroup
	defer work.Wait()
	places := make(chan struct{}, maxConns)
	for {
		conn, err := l.AcceptUnix()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return api.Errorf(api.KindInternal, "cannot accept connections: %w", err)
		}
		places <- struct{}{}
		work.Go(func() {
			defer func() { <-places }()
			defer conn.Close()
			s.answer(conn)
		})
	}
}

// answer serves the one request of a connection.
func (s *Server) answer(conn *net.UnixConn) {
	_ = conn.SetDeadline(time.Now().Add(requestTime))
	if err := s.admit(conn); err != nil {
		s.Log.Warn("refused", "error", err)
		// Bytes that nobody received would become an error of the connection instead of
		// the answer. Their descriptors are closed with it.
		_, _ = conn.Read(make([]byte, 1))
		s.send(conn, rootapi.NewResponse(s.Version, nil, err), nil)
		return
	}
	request, files, err := rootapi.ReadRequest(conn)
	if errors.Is(err, io.EOF) {
		return
	}
	defer rootapi.CloseAll(files)
	if err != nil {
		s.send(conn, rootapi.NewResponse(s.Version, nil, err), nil)
		return
	}
	began := time.Now()
	body, give, err := s.do(request, files)
	defer rootapi.CloseAll(give)
	if err != nil {
		s.Log.Warn("refused or failed", "verb", request.Verb, "error", err)
	} else {
		s.Log.Debug("done", "verb", request.Verb, "took", time.Since(began))
	}
	_ = conn.SetDeadline(time.Now().Add(requestTime))
	s.send(conn, rootapi.NewResponse(s.Version, body, err), give)
}

// do executes one request. It does not end with the connection: a caller that lost its
// connection asks again.
func (s *Server) do(request rootapi.Request, files []*os.File) (body any, give []*os.File, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), workTime)
	defer cancel()
	defer func() {
		if fault := recover(); fault != nil {
			s.Log.Error("a request panicked", "verb", request.Verb, "fault", fault, "stack", string(debug.Stack()))
			err = api.Errorf(api.KindInternal, "%s failed: see journalctl -u bangerd-root", request.Verb)
		}
	}()
	if err := request.CheckProtocol(s.Version); err != nil {
		return nil, nil, err
	}
	handle, ok := handlers[request.Verb]
	if !ok {
		return nil, nil, api.Errorf(api.KindInvalid, "unknown verb %.40q", request.Verb)
	}
	faultpoint.Reach(string(request.Verb), "before")
	body, give, err = handle(ctx, s, request, files)
	faultpoint.Reach(string(request.Verb), "after")
	return body, give, err
}

// admit checks the caller's identity, which the kernel provides (SO_PEERCRED, unix(7)).
func (s *Server) admit(conn *net.UnixConn) error {
	cred, err := peer(conn)
	if err != nil {
		return api.Errorf(api.KindDenied, "cannot identify the caller: %w", err)
	}
	if int(cred.Uid) != s.Owner && cred.Uid != 0 {
		return api.Errorf(api.KindDenied, "user %d is not the owner of this installation", cred.Uid)
	}
	return nil
}

func peer(conn *net.UnixConn) (*unix.Ucred, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	return cred, errors.Join(err, credErr)
}

func (s *Server) send(conn *net.UnixConn, r rootapi.Response, files []*os.File) {
	if r.Error != nil {
		files = nil
	}
	err := rootapi.Send(conn, r, files)
	if err == nil || errors.Is(err, unix.EPIPE) { // the caller does not wait any more
		return
	}
	s.Log.Warn("cannot answer", "error", err)
	// A caller without an answer would ask again, and fail again.
	if r.Error == nil {
		s.send(conn, rootapi.NewResponse(s.Version, nil, api.Errorf(api.KindInternal, "the answer cannot be sent: %w", err)), nil)
	}
}
