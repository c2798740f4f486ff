package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/guest/sockets"
	"banger/internal/guest/stdio"
)

// Listen listens on an endpoint. The datagrams of one sender are a connection that preserves their
// boundaries.
func Listen(ctx context.Context, e stdio.Endpoint) (net.Listener, error) {
	config := net.ListenConfig{}
	switch e.Network {
	case stdio.TCP:
		return config.Listen(ctx, network(e), local(e.Address))
	case stdio.UDP:
		conn, err := config.ListenPacket(ctx, network(e), local(e.Address))
		if err != nil {
			return nil, err
		}
		return newDatagrams(conn.(*net.UDPConn)), nil
	case stdio.Unix:
		return listenUnix(ctx, e.Address)
	}
	return nil, fmt.Errorf("unknown network %.20q", e.Network)
}

// Bind binds a port for another program, which continues with FromFile.
func Bind(ctx context.Context, e stdio.Endpoint) (*os.File, netip.AddrPort, error) {
	config := net.ListenConfig{}
	var socket interface {
		io.Closer
		File() (*os.File, error)
	}
	var at net.Addr
	if e.Network == stdio.UDP {
		conn, err := config.ListenPacket(ctx, network(e), local(e.Address))
		if err != nil {
			return nil, netip.AddrPort{}, err
		}
		socket, at = conn.(*net.UDPConn), conn.LocalAddr()
	} else {
		l, err := config.Listen(ctx, network(e), local(e.Address))
		if err != nil {
			return nil, netip.AddrPort{}, err
		}
		socket, at = l.(*net.TCPListener), l.Addr()
	}
	defer socket.Close()
	f, err := socket.File()
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	address, err := netip.ParseAddrPort(at.String())
	return f, address, err
}

// FromFile listens on a port that Bind has bound. It closes f.
func FromFile(f *os.File, network string) (net.Listener, error) {
	defer f.Close()
	if network != stdio.UDP {
		return net.FileListener(f)
	}
	conn, err := net.FilePacketConn(f)
	if err != nil {
		return nil, err
	}
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		conn.Close()
		return nil, errors.New("the socket is none for datagrams")
	}
	return newDatagrams(udp), nil
}

// dialFor bounds how long a connection on this host, or from it, may take.
const dialFor = 30 * time.Second

// Dial connects to an endpoint of this host. Without a host it tries both loopbacks, as for
// localhost.
func Dial(ctx context.Context, e stdio.Endpoint) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialFor)
	defer cancel()
	var d net.Dialer
	host, port, err := net.SplitHostPort(e.Address)
	if e.Network == stdio.Unix || err != nil || host != "" {
		return d.DialContext(ctx, e.Network, e.Address)
	}
	conn, err := d.DialContext(ctx, e.Network, net.JoinHostPort(loopback, port))
	if errors.Is(err, syscall.ECONNREFUSED) {
		if other, otherErr := d.DialContext(ctx, e.Network, net.JoinHostPort("::1", port)); otherErr == nil {
			return other, nil
		}
	}
	return conn, err
}

// crowdedPause is how long Accept waits for a descriptor: nothing announces a free one.
const crowdedPause = 20 * time.Millisecond

// Accept waits for a connection, through shortages of descriptors and connections
// that end before they are accepted (accept(2)).
func Accept(l net.Listener) (net.Conn, error) {
	for {
		conn, err := l.Accept()
		switch {
		case errors.Is(err, syscall.ECONNABORTED):
		case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOBUFS), errors.Is(err, syscall.ENOMEM):
			time.Sleep(crowdedPause)
		default:
			return conn, err
		}
	}
}

// network keeps an IPv6 address from also meaning IPv4, and vice versa.
func network(e stdio.Endpoint) string {
	if at, err := netip.ParseAddrPort(e.Address); err == nil && at.Addr().Is6() {
		return e.Network + "6"
	}
	return e.Network + "4"
}

// local adds the loopback to an address without a host.
func local(address string) string {
	if host, port, err := net.SplitHostPort(address); err == nil && host == "" {
		return net.JoinHostPort(loopback, port)
	}
	return address
}

// listenUnix creates a socket that only its owner may use, and replaces one on which nobody listens
// any more.
func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		// Linux gives the file the mode of the socket, less the umask (net/unix/af_unix.c,
		// unix_bind_bsd), so that it is never open to others.
		return errors.Join(raw.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }), err)
	}}
	l, err := config.Listen(ctx, "unix", path)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return l, err
	}
	conn, dialErr := new(net.Dialer).DialContext(ctx, "unix", path)
	if dialErr == nil {
		conn.Close()
	}
	if !errors.Is(dialErr, syscall.ECONNREFUSED) {
		return nil, err
	}
	if err := os.Remove(path); err != nil {
		return nil, err
	}
	return config.Listen(ctx, "unix", path)
}

// Refused explains why listening on an endpoint failed: which process uses the port, or what to do
// about a privileged one. where follows the address in the message, such as " in the guest".
func Refused(err error, e stdio.Endpoint, where string) *api.Error {
	at := local(e.Address)
	var syscallError *os.SyscallError
	if errors.As(err, &syscallError) {
		err = syscallError.Err
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return api.Errorf(api.KindConflict, "cannot listen on %s%s: %s", at, where, taken(e, at)).
			WithHint("choose another port, or 0 for a free one")
	case errors.Is(err, syscall.EACCES) && e.Network != stdio.Unix:
		port := portOf(at)
		return api.Errorf(api.KindDenied, "cannot listen on %s%s: ports below %s are for root", at, where, privileged()).
			WithHint("choose a higher port, such as %d\nsudo sysctl net.ipv4.ip_unprivileged_port_start=%d   lets everybody use this one", 8000+port, port)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return api.Errorf(api.KindInvalid, "cannot listen on %s%s: no interface has this address", at, where).WithHint("ip addr")
	case errors.Is(err, syscall.EINVAL) && e.Network == stdio.Unix:
		return api.Errorf(api.KindInvalid, "cannot listen on %s%s: a socket's path has 107 characters at most", at, where)
	}
	return api.Errorf(api.KindInternal, "cannot listen on %s%s: %w", at, where, err)
}

// taken returns which process uses a port, as far as that is visible.
func taken(e stdio.Endpoint, at string) string {
	if e.Network == stdio.Unix {
		return "something listens there, or it is not a socket"
	}
	address, err := netip.ParseAddrPort(at)
	if err != nil {
		return "the port is taken"
	}
	s, found := sockets.Host.Holder(e.Network, address)
	switch {
	case found && s.PID > 0:
		return fmt.Sprintf("port %d is taken by %s (process %d)", address.Port(), s.Process, s.PID)
	case found && s.UID != os.Getuid():
		return fmt.Sprintf("port %d is taken by a process of user %d", address.Port(), s.UID)
	}
	return fmt.Sprintf("port %d is taken", address.Port())
}

func portOf(address string) int {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(port)
	return n
}

// privileged is the first port that everybody may listen on (ip-sysctl.rst).
func privileged() string {
	data, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if err != nil || len(data) < 2 {
		return "1024"
	}
	return string(data[:len(data)-1])
}
