package sshd

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/crypto/ssh"

	"banger/internal/guest/forward"
	"banger/internal/guest/stdio"
)

// directTCP connects the client to a port that the guest can reach (RFC 4254,
// section 7.2).
func (s *server) directTCP(wish ssh.NewChannel) {
	var req struct {
		Host       string
		Port       uint32
		Origin     string
		OriginPort uint32
	}
	if ssh.Unmarshal(wish.ExtraData(), &req) != nil || req.Port == 0 || req.Port > 1<<16-1 {
		_ = wish.Reject(ssh.ConnectionFailed, "bad request")
		return
	}
	host := req.Host
	if host == "localhost" { // an image need not have /etc/hosts, which defines it
		host = ""
	}
	at := stdio.Endpoint{Network: stdio.TCP, Address: net.JoinHostPort(host, strconv.Itoa(int(req.Port)))}
	s.join(wish, func(ctx context.Context) (net.Conn, error) { return forward.Dial(ctx, at) })
}

// directUnix connects the client to a Unix socket of the guest (OpenSSH's PROTOCOL,
// section 2.4), with the rights of its user.
func (s *server) directUnix(wish ssh.NewChannel) {
	var req struct {
		Path     string
		Reserved string
		Unused   uint32
	}
	if ssh.Unmarshal(wish.ExtraData(), &req) != nil || req.Path == "" {
		_ = wish.Reject(ssh.ConnectionFailed, "bad request")
		return
	}
	s.join(wish, func(ctx context.Context) (conn net.Conn, err error) {
		err = as(s.user.Credential, func() (err error) {
			conn, err = new(net.Dialer).DialContext(ctx, "unix", s.path(req.Path))
			return err
		})
		return conn, err
	})
}

// path returns a socket's absolute path: relative ones begin at the home directory.
func (s *server) path(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(s.user.Home, path)
}

// place calls carry with a place among the guest's connections, and a context that ends when
// the connection has to make way for another. It returns false, and does not call it, if there
// is none.
func (s *server) place(carry func(ctx context.Context, place *forward.Place)) bool {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	place := s.guest.Place(cancel)
	if place == nil {
		return false
	}
	defer place.Leave()
	carry(ctx, place)
	return true
}

// join dials for a channel, accepts it if that succeeds, and carries bytes between the two.
func (s *server) join(wish ssh.NewChannel, dial func(ctx context.Context) (net.Conn, error)) {
	if !s.place(func(ctx context.Context, place *forward.Place) {
		conn, err := dial(ctx)
		if err != nil {
			_ = wish.Reject(ssh.ConnectionFailed, err.Error())
			return
		}
		channel, requests, err := wish.Accept()
		if err != nil {
			conn.Close()
			return
		}
		carry(ctx, channel, requests, conn, place)
	}) {
		_ = wish.Reject(ssh.ResourceShortage, "the guest has as many connections open already as its memory allows")
	}
}

// carry copies both ways until both have ended, one failed or ctx has ended.
func carry(ctx context.Context, channel ssh.Channel, requests <-chan *ssh.Request, conn net.Conn, place *forward.Place) {
	go ssh.DiscardRequests(requests) // ends with the channel
	closeBoth := func() {
		channel.Close()
		conn.Close()
	}
	defer closeBoth()
	defer context.AfterFunc(ctx, closeBoth)()
	ended := make(chan error, 2)
	go func() { ended <- pump(conn, using{channel, place}) }()
	go func() { ended <- pump(channel, using{conn, place}) }()
	if <-ended != nil {
		closeBoth()
	}
	_ = <-ended
}

// using notes that a connection carries something.
type using struct {
	io.Reader
	place *forward.Place
}

func (u using) Read(p []byte) (int, error) {
	n, err := u.Reader.Read(p)
	u.place.Use()
	return n, err
}

// half can end its writing direction alone.
type half interface{ CloseWrite() error }

// pump copies from src to dst and forwards the end.
func pump(dst io.Writer, src io.Reader) error {
	if _, err := io.Copy(dst, src); err != nil {
		return err
	}
	if h, ok := dst.(half); ok {
		return h.CloseWrite()
	}
	return nil
}

// listenTCP listens in the guest for the client (RFC 4254, section 7.1). As with
// GatewayPorts=clientspecified (sshd_config(5)) the client chooses the address: ssh requests
// localhost if its user names none.
func (s *server) listenTCP(payload []byte) (answer []byte, ok bool) {
	var req struct {
		Addr string
		Port uint32
	}
	if ssh.Unmarshal(payload, &req) != nil || req.Port > 1<<16-1 {
		return nil, false
	}
	host := req.Addr
	if host == "localhost" {
		host = "127.0.0.1"
	}
	var l net.Listener
	err := as(s.user.Credential, func() (err error) { // only root may use ports below 1024
		l, err = new(net.ListenConfig).Listen(s.ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(int(req.Port))))
		return err
	})
	if err != nil {
		return nil, false
	}
	port := uint32(l.Addr().(*net.TCPAddr).Port)
	if s.serveListener(tcpKey(req.Addr, port), l, "forwarded-tcpip", func(c net.Conn) []byte {
		from, _ := c.RemoteAddr().(*net.TCPAddr)
		return ssh.Marshal(struct {
			Addr       string
			Port       uint32
			Origin     string
			OriginPort uint32
		}{req.Addr, port, from.IP.String(), uint32(from.Port)})
	}) != nil {
		return nil, false
	}
	if req.Port == 0 {
		answer = ssh.Marshal(struct{ Port uint32 }{port})
	}
	return answer, true
}

// listenUnix listens at a Unix socket in the guest for the client, with the rights
// of its user (OpenSSH's PROTOCOL, section 2.4).
func (s *server) listenUnix(payload []byte) bool {
	var req struct{ Path string }
	if ssh.Unmarshal(payload, &req) != nil || req.Path == "" {
		return false
	}
	l, err := s.bind(s.path(req.Path))
	if err != nil {
		return false
	}
	return s.serveListener(unixKey(req.Path), l, "forwarded-streamlocal@openssh.com", func(net.Conn) []byte {
		return ssh.Marshal(struct{ Path, Reserved string }{Path: req.Path})
	}) == nil
}

// bind creates a socket that only the client's user may use.
func (s *server) bind(path string) (net.Listener, error) {
	var l net.Listener
	err := as(s.user.Credential, func() (err error) {
		if l, err = new(net.ListenConfig).Listen(s.ctx, "unix", path); err != nil {
			return err
		}
		return os.Chmod(path, 0o600)
	})
	if err != nil && l != nil {
		l.Close()
	}
	return l, err
}

func tcpKey(addr string, port uint32) string {
	return "tcp " + net.JoinHostPort(addr, strconv.Itoa(int(port)))
}
func unixKey(path string) string { return "unix " + path }

// cancelListener ends a forwarding; its connections continue.
func (s *server) cancelListener(kind string, payload []byte) bool {
	var tcp struct {
		Addr string
		Port uint32
	}
	var local struct{ Path string }
	var key string
	switch {
	case kind == "cancel-tcpip-forward" && ssh.Unmarshal(payload, &tcp) == nil:
		key = tcpKey(tcp.Addr, tcp.Port)
	case kind != "cancel-tcpip-forward" && ssh.Unmarshal(payload, &local) == nil:
		key = unixKey(local.Path)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.listeners[key]
	if l == nil {
		return false
	}
	delete(s.listeners, key)
	return l.Close() == nil
}

// serveListener opens a channel to the client for each connection, until l is
// closed. details are the channel's own.
func (s *server) serveListener(key string, l net.Listener, kind string, details func(net.Conn) []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.listeners) >= maxListeners || s.listeners[key] != nil {
		return errors.Join(errors.New("too many forwardings, or the same twice"), l.Close())
	}
	s.listeners[key] = l
	s.work.Go(func() {
		defer context.AfterFunc(s.ctx, func() { l.Close() })()
		for {
			conn, err := forward.Accept(l)
			if err != nil {
				return
			}
			s.carryToClient(conn, kind, details(conn))
		}
	})
	return nil
}

// carryToClient carries a connection that was made in the guest to the client. If there
// are too many channels or connections already, it is closed.
func (s *server) carryToClient(conn net.Conn, kind string, details []byte) {
	if s.ctx.Err() != nil || !s.take() {
		conn.Close()
		return
	}
	s.work.Go(func() {
		defer s.give()
		defer conn.Close()
		s.place(func(ctx context.Context, place *forward.Place) {
			channel, requests, err := s.conn.OpenChannel(kind, details)
			if err == nil {
				carry(ctx, channel, requests, conn, place)
			}
		})
	})
}
