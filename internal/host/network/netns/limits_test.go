//go:build linux

package netns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"banger/internal/guest/guestnet"
	"banger/internal/host/network"
)

// tracked is how many entries connection tracking has in the calling thread's namespace.
func tracked() (int, error) {
	text, err := os.ReadFile(sysctls + "/netfilter/nf_conntrack_count")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// forget empties the host's connection tracking.
func forget(t *testing.T) {
	t.Helper()
	if err := netlink.ConntrackTableFlush(netlink.ConntrackTable); err != nil {
		t.Fatal(err)
	}
}

// openMany makes as many connections as a number says, each with an entry of its own,
// beginning with another number.
var openMany = map[string]func(from, n int) error{
	"udp": func(from, n int) error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for i := range n {
			_ = unix.Sendto(fd, []byte("x"), 0, nobody(1000+from+i)) // it says when the last one was refused
			breathe(i)
		}
		return nil
	},
	"tcp": func(from, n int) error {
		for i := range n {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
			if err != nil {
				return err
			}
			if err := unix.Connect(fd, nobody(1000+from+i)); !errors.Is(err, unix.EINPROGRESS) {
				unix.Close(fd)
				return fmt.Errorf("connect: %w", err)
			}
			unix.Close(fd)
			breathe(i)
		}
		return nil
	},
	"icmp": func(from, n int) error { return pings(from, n, nobody(0)) },
}

// nobody is an address that the host forwards to, and where nobody answers.
func nobody(port int) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Addr: [4]byte{198, 51, 100, 99}, Port: port}
}

// breathe lets those who carry frames catch up: a tap's queue is short.
func breathe(i int) {
	if i%50 == 49 {
		time.Sleep(2 * time.Millisecond)
	}
}

// pings sends echo requests with different identifiers (RFC 792).
func pings(from, n int, to unix.Sockaddr) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// The one's complement of the sum of all words (RFC 1071).
	checksum := func(id uint16) uint16 {
		sum := 0x0801 + uint32(id)
		return ^uint16(sum + sum>>16)
	}
	for i := range n {
		echo := []byte{8, 0, 0, 0, 0, 0, 0, 1}
		binary.BigEndian.PutUint16(echo[4:], uint16(from+i))
		binary.BigEndian.PutUint16(echo[2:], checksum(uint16(from+i)))
		if err := unix.Sendto(fd, echo, 0, to); err != nil && !errors.Is(err, unix.ENOBUFS) {
			return err
		}
		breathe(i)
	}
	return nil
}

// mustBeFull checks that a VM has all the entries that it may have, and no more.
func mustBeFull(t *testing.T, what string, got int) {
	t.Helper()
	const few = 64 // of the test's other connections, and of what is ended meanwhile
	if got > network.MaxConnections+few || got < network.MaxConnections-few {
		t.Errorf("%s has %d entries, want %d", what, got, network.MaxConnections)
	}
}

// fill makes connections until a VM should have no room for more, and then some. What a
// busy machine loses on the way is made up for.
func fill(t *testing.T, from, counted place, open func(from, n int) error) {
	t.Helper()
	const batch = 1000
	for i := range 40 {
		from.do(t, func() error { return open(i*batch, batch) })
		if i > 0 && settled(t, counted) > network.MaxConnections-batch/20 {
			from.do(t, func() error { return open((i+1)*batch, batch) })
			return
		}
	}
}

// settled waits until a count does not change any more.
func settled(t *testing.T, at place) (n int) {
	t.Helper()
	for before := -1; n != before; time.Sleep(200 * time.Millisecond) {
		before = n
		at.do(t, func() (err error) { n, err = tracked(); return err })
	}
	return n
}

// host is the tests' own namespace.
func host(t *testing.T) place {
	t.Helper()
	ns, err := os.Open("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return place{ns}
}

func TestAGuestCannotFillConnectionTracking(t *testing.T) {
	for proto, open := range openMany {
		t.Run(proto, func(t *testing.T) {
			m, _ := newWorld(t)
			here := host(t)
			guest, other := newGuest(t, m, 3, guestnet.MAC), newGuest(t, m, 4, guestnet.MAC)
			reaches(t, guest, "tcp", webServer+":80", "web for "+hostAddress)
			forget(t)
			fill(t, guest, here, open)
			mustBeFull(t, "the namespace", settled(t, namespace(t, m, plan(t, 3))))
			mustBeFull(t, "the host", settled(t, here))
			refused(t, guest, "tcp", webServer+":80")
			reaches(t, other, "tcp", webServer+":80", "web for "+hostAddress)
			forget(t)
		})
	}
}

// TestPingsOfTheGatewayCount: also what does not leave the namespace takes memory.
func TestPingsOfTheGatewayCount(t *testing.T) {
	m, _ := newWorld(t)
	guest := newGuest(t, m, 3, guestnet.MAC)
	vm := namespace(t, m, plan(t, 3))
	fill(t, guest, vm, func(from, n int) error { return pings(from, n, &unix.SockaddrInet4{Addr: guestnet.Gateway.As4()}) })
	mustBeFull(t, "the namespace", settled(t, vm))
}

// TestTheHostCountsForItself has a namespace without rules, as if its own limit did
// not hold, or not for as long as the host remembers connections.
func TestTheHostCountsForItself(t *testing.T) {
	m, _ := newWorld(t)
	here := host(t)
	attach(t, m, plan(t, 3))
	attach(t, m, plan(t, 4))
	vm, other := namespace(t, m, plan(t, 3)), namespace(t, m, plan(t, 4))
	for _, p := range []place{vm, other} {
		p.do(t, func() error { runNft(t, "flush ruleset"); return nil })
	}
	forget(t)
	fill(t, vm, here, openMany["udp"])
	mustBeFull(t, "the host", settled(t, here))
	refused(t, vm, "tcp", webServer+":80")
	reaches(t, other, "tcp", webServer+":80", "web for "+hostAddress)
	forget(t)
}

// TestALaterVMBeginsAfresh: what is left of one is not counted for the next that has
// its address.
func TestALaterVMBeginsAfresh(t *testing.T) {
	m, _ := newWorld(t)
	p := plan(t, 3)
	begin := func() place {
		attach(t, m, p)
		vm := namespace(t, m, p)
		vm.do(t, func() error { runNft(t, "flush ruleset"); return nil })
		return vm
	}
	vm := begin()
	forget(t)
	fill(t, vm, host(t), openMany["udp"])
	refused(t, vm, "tcp", webServer+":80")
	if err := m.Detach(context.Background(), p.ID); err != nil {
		t.Fatal(err)
	}
	reaches(t, begin(), "tcp", webServer+":80", "web for "+hostAddress)
	forget(t)
}

// neighboursAt returns the entries of a link in the table that all namespaces share.
func neighboursAt(t *testing.T, at place, name string) (all []netlink.Neigh) {
	t.Helper()
	at.do(t, func() error {
		nl := must(netlink.NewHandle(unix.NETLINK_ROUTE))
		defer nl.Close()
		link, err := nl.LinkByName(name)
		if err == nil {
			all, err = nl.NeighList(link.Attrs().Index, netlink.FAMILY_V4)
		}
		return err
	})
	return all
}

// arp sends what a machine with an address would ask or answer, to the gateway.
func arp(fd, ifindex int, operation byte, hardware string, sender netip.Addr) error {
	const broadcast = "ff:ff:ff:ff:ff:ff"
	frame := append([]byte(mac(broadcast)), mac(guestnet.MAC)...)
	frame = append(frame, 8, 6, 0, 1, 8, 0, 6, 4, 0, operation) // RFC 826
	frame = append(frame, mac(hardware)...)
	frame = append(frame, sender.AsSlice()...)
	frame = append(frame, mac(network.GatewayMAC)...)
	frame = append(frame, guestnet.Gateway.AsSlice()...)
	return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: ifindex, Halen: 6})
}

// TestAGuestSpeaksForItselfAlone asks and answers by ARP with addresses that are not
// the guest's.
func TestAGuestSpeaksForItselfAlone(t *testing.T) {
	m, _ := newWorld(t)
	guest := newGuest(t, m, 3, guestnet.MAC)
	guest.do(t, func() error {
		link := must(netlink.LinkByName("eth0"))
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for last := byte(4); last < 64; last++ {
			for _, operation := range []byte{1, 2} { // request, reply
				if err := arp(fd, link.Attrs().Index, operation, guestnet.MAC, netip.AddrFrom4([4]byte{10, 0, 2, last})); err != nil {
					return err
				}
			}
		}
		return arp(fd, link.Attrs().Index, 1, "52:54:00:12:34:99", guestnet.Address.Addr())
	})
	reaches(t, guest, "udp", webServer+":80", "web for "+hostAddress)
	all := neighboursAt(t, namespace(t, m, plan(t, 3)), network.Tap)
	if len(all) != 1 || !all[0].IP.Equal(guestnet.Address.Addr().AsSlice()) || all[0].HardwareAddr.String() != guestnet.MAC {
		t.Errorf("the namespace knows %v", all)
	}
}

// TestTrafficMakesNoNeighbours: whatever goes on, both ends of the link and the guest
// are known beforehand.
func TestTrafficMakesNoNeighbours(t *testing.T) {
	m, _ := newWorld(t)
	guest, p := newGuest(t, m, 3, guestnet.MAC), plan(t, 3)
	guest.do(t, func() error { return serve(t, "guest", "0.0.0.0:80") })
	reaches(t, guest, "tcp", webServer+":80", "web for "+hostAddress)
	if said, err := dial("", "tcp", p.Outer.Addr().String()+":80", patience); err != nil {
		t.Error(said, err)
	}
	guest.do(t, func() error { // by the gateway, to nobody on the guest's own network
		nl := must(netlink.NewHandle(unix.NETLINK_ROUTE))
		defer nl.Close()
		return nl.RouteAdd(&netlink.Route{Dst: ipNet(netip.MustParsePrefix("10.0.2.77/32")), Gw: net.IP(guestnet.Gateway.AsSlice())})
	})
	silent(t, guest, "", "udp", "10.0.2.77:80")
	vm := namespace(t, m, p)
	for _, end := range []struct {
		at   place
		link string
	}{{host(t), p.Link}, {vm, network.Uplink}, {vm, network.Tap}} {
		all := neighboursAt(t, end.at, end.link)
		if len(all) != 1 || all[0].State != netlink.NUD_PERMANENT {
			t.Errorf("%s knows %v", end.link, all)
		}
	}
}

// search sends a datagram to as many addresses of 10.99.0.0/20, which nobody has.
func search(from, n int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for i := from; i < from+n; i++ {
		if err := unix.Sendto(fd, []byte("x"), 0, &unix.SockaddrInet4{Addr: [4]byte{10, 99, byte(i >> 8), byte(i)}, Port: 9}); err != nil {
			return err
		}
	}
	return nil
}

// bigLAN gives the host's eth0 a network of 4094 addresses, all of them free.
func bigLAN(t *testing.T) {
	t.Helper()
	lan := &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("10.99.15.254/20"))}
	nl := must(netlink.NewHandle(unix.NETLINK_ROUTE))
	defer nl.Close()
	if _, err := address(nl, "eth0", lan); err != nil {
		t.Fatal(err)
	}
}

func TestAGuestCannotFillTheNeighbourTable(t *testing.T) {
	m, _ := newWorld(t)
	bigLAN(t)
	here, guest := host(t), newGuest(t, m, 3, guestnet.MAC)
	before := len(neighboursAt(t, here, "eth0"))
	guest.do(t, func() error { return search(1, 400) })
	reaches(t, guest, "tcp", webServer+":80", "web for "+hostAddress) // by the gateway
	most := network.NextHopBurst + 3*network.NextHopRate
	if made := len(neighboursAt(t, here, "eth0")) - before; made > most || made < network.NextHopBurst/2 {
		t.Errorf("one guest made %d neighbours, want %d", made, network.NextHopBurst)
	}
}

// TestManyGuestsCannotFillTheNeighbourTable has namespaces without rules for guests.
func TestManyGuestsCannotFillTheNeighbourTable(t *testing.T) {
	m, _ := newWorld(t)
	bigLAN(t)
	here := host(t)
	const guests = network.MaxNextHops/network.NextHopBurst + 4
	var all []place
	for slot := range guests {
		attach(t, m, plan(t, slot))
		vm := namespace(t, m, plan(t, slot))
		vm.do(t, func() error { runNft(t, "flush ruleset"); return nil })
		all = append(all, vm)
	}
	for i, vm := range all {
		vm.do(t, func() error { return search(1+i*100, network.NextHopBurst) })
	}
	if made := len(neighboursAt(t, here, "eth0")); made > network.MaxNextHops+8 || made < network.MaxNextHops/2 {
		t.Errorf("%d guests made %d neighbours, want %d", guests, made, network.MaxNextHops)
	}
}

// TestTheVMMReachesNothing: the VMM is in the guest's namespace, and has no traffic
// of its own.
func TestTheVMMReachesNothing(t *testing.T) {
	m, inet := newWorld(t)
	guest, p := newGuest(t, m, 3, guestnet.MAC), plan(t, 3)
	guest.do(t, func() error { return serve(t, "guest", "0.0.0.0:80") })
	vm := namespace(t, m, p)
	vm.do(t, func() error { return serve(t, "namespace", "0.0.0.0:81") })
	heard := listen(t, inet)
	for name, to := range map[string]string{
		"the internet":        webServer + ":80",
		"another port there":  webServer + ":99",
		"the resolver":        network.ResolverAddress(network.DefaultOuter).String() + ":53",
		"a metadata address":  metadata + ":80",
		"the host":            hostAddress + ":80",
		"the host's side":     p.Host.Addr().String() + ":80",
		"its guest":           guestnet.Address.Addr().String() + ":80",
		"itself":              guestnet.Gateway.String() + ":81",
		"itself by loopback":  "127.0.0.1:81",
		"itself from outside": p.Outer.Addr().String() + ":81",
		"the guest's network": "10.0.2.77:80",
	} {
		t.Run(name, func(t *testing.T) {
			silent(t, vm, "", "udp", to)
			silent(t, vm, "", "tcp", to)
		})
	}
	if from := heard(); from != "" {
		t.Errorf("the internet heard %s", from)
	}
	reaches(t, guest, "tcp", webServer+":80", "web for "+hostAddress)
}

// TestTheNamespaceStillSaysWhy: errors of the kernel's own come to the guest.
func TestTheNamespaceStillSaysWhy(t *testing.T) {
	m, _ := newWorld(t)
	guest := newGuest(t, m, 3, guestnet.MAC)
	refused(t, guest, "tcp", "10.0.2.2:81")
	if _, err := guest.dial("", "udp", metadata+":80", patience); !errors.Is(err, unix.EHOSTUNREACH) {
		t.Errorf("a datagram to what is closed: %v", err) // admin-prohibited (icmp(7))
	}
	guest.do(t, func() error {
		c, err := net.Dial("udp", webServer+":80")
		if err != nil {
			return err
		}
		defer c.Close()
		raw, err := c.(*net.UDPConn).SyscallConn()
		if err != nil {
			return err
		}
		if err := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TTL, 1)
			err = errors.Join(err, unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVERR, 1))
		}); err != nil {
			return err
		}
		if err != nil {
			return err
		}
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		if _, err := c.Write([]byte("?")); err != nil {
			return err
		}
		if _, err := c.Read(make([]byte, 9)); !errors.Is(err, unix.EHOSTUNREACH) {
			t.Errorf("a datagram that may not go further: %v", err)
		}
		return nil
	})
	if answered, err := guest.ping(guestnet.Gateway); err != nil || !answered {
		t.Errorf("the gateway answers a ping: %v, %v", answered, err)
	}
}

// ping tells whether an address answers within the time that a test waits.
func (p place) ping(to netip.Addr) (answered bool, err error) {
	err = in(p.ns, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		wait := unix.NsecToTimeval(patience.Nanoseconds())
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
			return err
		}
		if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: to.As4()}); err != nil {
			return err
		}
		if _, err := unix.Write(fd, []byte{8, 0, 0xf7, 0xfd, 0, 1, 0, 1}); err != nil {
			return err
		}
		b := make([]byte, 128)
		n, err := unix.Read(fd, b)
		answered = n >= 28 && b[20] == 0 // an echo reply behind the IP header
		return err
	})
	return answered, err
}
