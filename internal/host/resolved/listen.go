//go:build linux

package resolved

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"banger/internal/host/network"
)

// listen binds the sockets for questions: UDP, then TCP. They are bound to the link too. The host's
// own packets to its address count as coming by it (rt_iif, net/ipv4/route.c), and nobody else's
// come by it: other machines and guests, which could send packets for the address to the host,
// reach nothing.
func listen(ctx context.Context) ([]*os.File, error) {
	at := netip.AddrPortFrom(network.NamesAddress, network.NamesPort).String()
	c := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		if e := raw.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), network.NamesLink) }); e != nil {
			return e
		}
		return err
	}}
	udp, err := c.ListenPacket(ctx, "udp4", at)
	if err != nil {
		return nil, fmt.Errorf("listen for questions: %w", err)
	}
	defer udp.Close()
	tcp, err := c.Listen(ctx, "tcp4", at)
	if err != nil {
		return nil, fmt.Errorf("listen for questions: %w", err)
	}
	defer tcp.Close()
	first, err := udp.(*net.UDPConn).File()
	if err != nil {
		return nil, err
	}
	second, err := tcp.(*net.TCPListener).File()
	if err != nil {
		first.Close()
		return nil, err
	}
	return []*os.File{first, second}, nil
}
