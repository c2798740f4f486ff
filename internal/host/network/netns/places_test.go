//go:build linux

package netns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	vnetns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"banger/internal/guest/guestnet"
	"banger/internal/host/network"
)

// The internet of the tests, behind the host's eth0 (RFC 5737's addresses).
const (
	hostAddress = "192.0.2.1"
	webServer   = "198.51.100.80"
	resolver    = "198.51.100.53"
	metadata    = "169.254.169.254"
)

// place is a namespace of the tests.
type place struct{ ns *os.File }

func newPlace(t *testing.T, fn func(nl *netlink.Handle) error) place {
	t.Helper()
	ns, err := inNew(func() error {
		nl, err := netlink.NewHandleAt(vnetns.None(), unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer nl.Close()
		if err := up(nl, "lo"); err != nil {
			return err
		}
		return fn(nl)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return place{ns}
}

// do calls fn in the place; sockets made by fn are there.
func (p place) do(t *testing.T, fn func() error) {
	t.Helper()
	if err := in(p.ns, fn); err != nil {
		t.Fatal(err)
	}
}

// patience is how long a test waits for what must come, and shortly for what
// must not.
const (
	patience = 5 * time.Second
	shortly  = 300 * time.Millisecond
)

// dial connects from the place and returns what a server said.
func (p place) dial(from, network, to string, within time.Duration) (said string, err error) {
	err = in(p.ns, func() error {
		said, err = dial(from, network, to, within)
		return err
	})
	return said, err
}

func dial(from, network, to string, within time.Duration) (string, error) {
	d := net.Dialer{Timeout: within}
	if from != "" {
		if network == "udp" {
			d.LocalAddr = &net.UDPAddr{IP: net.ParseIP(from)}
		} else {
			d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
		}
	}
	c, err := d.Dial(network, to)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(within)); err != nil {
		return "", err
	}
	if _, err := c.Write([]byte("?\n")); err != nil {
		return "", err
	}
	b := make([]byte, 256)
	n, err := c.Read(b)
	if n > 0 {
		err = nil
	}
	return string(b[:n]), err
}

// serve answers at a TCP and a UDP address with its name and who asks.
func serve(t *testing.T, name, address string) error {
	l, err := net.Listen("tcp4", address)
	if err != nil {
		return err
	}
	u, err := net.ListenPacket("udp4", address)
	if err != nil {
		l.Close()
		return err
	}
	var wg sync.WaitGroup
	wg.Go(func() { serveTCP(l, name) })
	wg.Go(func() { serveUDP(u, name) })
	t.Cleanup(func() { l.Close(); u.Close(); wg.Wait() })
	return nil
}

func serveTCP(l net.Listener, name string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
		fmt.Fprintf(c, "%s for %s", name, host)
		c.Close()
	}
}

func serveUDP(u net.PacketConn, name string) {
	b := make([]byte, 256)
	for {
		_, from, err := u.ReadFrom(b)
		if err != nil {
			return
		}
		host, _, _ := net.SplitHostPort(from.String())
		_, _ = u.WriteTo(fmt.Appendf(nil, "%s for %s", name, host), from) // the asker's deadline tells
	}
}

// join links a place to the host, which is its way to everywhere. The host is the
// tests' own namespace.
func join(t *testing.T, to place, name, outside, inside string) {
	t.Helper()
	nl := must(netlink.NewHandle(unix.NETLINK_ROUTE))
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	if err := nl.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(to.ns.Fd())}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := remove(nl, name); err != nil {
			t.Error(err)
		}
		nl.Close()
	})
	host := netip.MustParsePrefix(outside)
	if _, err := address(nl, name, &netlink.Addr{IPNet: ipNet(host)}); err != nil {
		t.Fatal(err)
	}
	to.do(t, func() error {
		nl := must(netlink.NewHandle(unix.NETLINK_ROUTE))
		defer nl.Close()
		if _, err := address(nl, "eth0", &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix(inside))}); err != nil {
			return err
		}
		return nl.RouteAdd(&netlink.Route{Gw: net.IP(host.Addr().AsSlice())})
	})
}

// newInternet joins the host to a namespace with servers. It knows no way to
// guests but by the host.
func newInternet(t *testing.T) place {
	t.Helper()
	inet := newPlace(t, func(*netlink.Handle) error { return nil })
	join(t, inet, "eth0", hostAddress+"/24", "192.0.2.2/24")
	inet.do(t, func() error {
		nl := must(netlink.NewHandle(unix.NETLINK_ROUTE))
		defer nl.Close()
		for _, a := range []string{webServer, resolver, metadata} {
			if _, err := address(nl, "eth0", &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix(a + "/32"))}); err != nil {
				return err
			}
		}
		for _, s := range []struct{ name, at string }{
			{"web", webServer + ":80"}, {"names", resolver + ":53"}, {"secrets", metadata + ":80"}, {"mail", resolver + ":25"},
		} {
			if err := serve(t, s.name, s.at); err != nil {
				return err
			}
		}
		return nil
	})
	nl := must(netlink.NewHandle(unix.NETLINK_ROUTE))
	defer nl.Close()
	if err := up(nl, "lo"); err != nil {
		t.Fatal(err)
	}
	if err := nl.RouteAdd(&netlink.Route{Gw: net.ParseIP("192.0.2.2")}); err != nil {
		t.Fatal(err)
	}
	return inet
}

// newGuest attaches a VM and puts a guest behind its tap: a namespace whose eth0
// is another tap, with a goroutine in the VMM's place that carries frames.
func newGuest(t *testing.T, m *Manager, slot int, hardware string) place {
	t.Helper()
	return newGuestOf(t, m, plan(t, slot), hardware)
}

func newGuestOf(t *testing.T, m *Manager, p network.Plan, hardware string) place {
	t.Helper()
	attach(t, m, p)
	var outside, inside *os.File
	namespace(t, m, p).do(t, func() (err error) {
		outside, err = openTap(network.Tap)
		return err
	})
	guest := newPlace(t, func(nl *netlink.Handle) (err error) {
		if inside, err = openTap("eth0"); err != nil {
			return err
		}
		eth0, err := nl.LinkByName("eth0")
		if err != nil {
			return err
		}
		if err := nl.LinkSetHardwareAddr(eth0, mac(hardware)); err != nil {
			return err
		}
		if _, err := address(nl, "eth0", &netlink.Addr{IPNet: ipNet(guestnet.Address)}); err != nil {
			return err
		}
		return nl.RouteAdd(&netlink.Route{Gw: net.IP(guestnet.Gateway.AsSlice())})
	})
	var wg sync.WaitGroup
	wg.Go(func() { carry(inside, outside) })
	wg.Go(func() { carry(outside, inside) })
	t.Cleanup(func() { inside.Close(); outside.Close(); wg.Wait() })
	return guest
}

// openTap opens a tap as a VMM does. Once it is one, it can be polled.
func openTap(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	req := must(unix.NewIfreq(name))
	req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

func carry(to io.Writer, from io.Reader) {
	b := make([]byte, 1<<16)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		if _, err := to.Write(b[:n]); err != nil && !errors.Is(err, unix.EIO) { // EIO: a link that is down
			return
		}
	}
}

// hostTable is the table as these tests have it.
func hostTable() network.HostTable {
	return network.HostTable{Outer: network.DefaultOuter, Resolver: netip.MustParseAddr(resolver)}
}

// newWorld is a host with its table, and the internet.
func newWorld(t *testing.T) (*Manager, place) {
	t.Helper()
	needsRoot(t)
	inet := newInternet(t)
	if err := EnsureTable(context.Background(), hostTable()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := RemoveTable(context.Background()); err != nil {
			t.Error(err)
		}
	})
	must(EnsureForwarding())
	return newManager(t, 0), inet
}

func reaches(t *testing.T, from place, network, to, want string) {
	t.Helper()
	if said, err := from.dial("", network, to, patience); err != nil || said != want {
		t.Errorf("%s %s says %q (%v), want %q", network, to, said, err, want)
	}
}

func refused(t *testing.T, from place, network, to string) {
	t.Helper()
	said, err := from.dial("", network, to, patience)
	if err == nil {
		t.Errorf("%s %s says %q", network, to, said)
	} else if !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("%s %s is not refused but fails otherwise: %v", network, to, err)
	}
}

func silent(t *testing.T, from place, source, network, to string) {
	t.Helper()
	said, err := from.dial(source, network, to, shortly)
	if err == nil {
		t.Errorf("%s %s says %q to %s", network, to, said, source)
	}
}
