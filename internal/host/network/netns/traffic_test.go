//go:build linux

package netns

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"banger/internal/guest/guestnet"
	"banger/internal/host/network"
)

func TestWhatAGuestReaches(t *testing.T) {
	m, _ := newWorld(t)
	guest := newGuest(t, m, 3, guestnet.MAC)
	for _, proto := range []string{"tcp", "udp"} {
		reaches(t, guest, proto, webServer+":80", "web for "+hostAddress)
		reaches(t, guest, proto, "10.0.2.3:53", "names for "+hostAddress)
	}
}

func TestWhatAGuestDoesNotReach(t *testing.T) {
	m, _ := newWorld(t)
	one, other := newGuest(t, m, 3, guestnet.MAC), newGuest(t, m, 4, guestnet.MAC)
	other.do(t, func() error { return serve(t, "guest", "0.0.0.0:80") })
	namespace(t, m, plan(t, 3)).do(t, func() error { return serve(t, "namespace", "0.0.0.0:81") })
	if err := serve(t, "host", "0.0.0.0:80"); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{
		"another guest":                      plan(t, 4).Outer.Addr().String() + ":80",
		"another guest's host side":          plan(t, 4).Host.Addr().String() + ":80",
		"the host by its side of the link":   plan(t, 3).Host.Addr().String() + ":80",
		"the host by its address":            hostAddress + ":80",
		"its own outer address":              plan(t, 3).Outer.Addr().String() + ":80",
		"a metadata address":                 metadata + ":80",
		"another metadata address":           "100.100.100.200:80",
		"its gateway":                        "10.0.2.2:81",
		"its namespace by its outer address": plan(t, 3).Outer.Addr().String() + ":81",
		"the name server's other ports":      "10.0.2.3:25",
		"the resolver's inner other ports":   network.ResolverAddress(network.DefaultOuter).String() + ":25",
		"an address of nobody in the prefix": "10.213.77.77:80",
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, one, "tcp", to)
			silent(t, one, "", "udp", to)
		})
	}
}

// TestHostWithoutRules flushes the whole host's rules: what a namespace closes
// stays closed.
func TestHostWithoutRules(t *testing.T) {
	m, inet := newWorld(t)
	one, other := newGuest(t, m, 3, guestnet.MAC), newGuest(t, m, 4, guestnet.MAC)
	other.do(t, func() error { return serve(t, "guest", "0.0.0.0:80") })
	runNft(t, "flush ruleset")
	refused(t, one, "tcp", plan(t, 4).Outer.Addr().String()+":80")
	refused(t, one, "tcp", metadata+":80")
	silent(t, inet, "", "tcp", plan(t, 4).Outer.Addr().String()+":80")
}

func TestTheHostReachesTheGuest(t *testing.T) {
	m, inet := newWorld(t)
	guest := newGuest(t, m, 3, guestnet.MAC)
	guest.do(t, func() error { return serve(t, "guest", "0.0.0.0:80") })
	p := plan(t, 3)
	for _, proto := range []string{"tcp", "udp"} {
		if said, err := dial("", proto, p.Outer.Addr().String()+":80", patience); err != nil || said != "guest for "+p.Host.Addr().String() {
			t.Errorf("%s: %q, %v", proto, said, err)
		}
		silent(t, inet, "", proto, p.Outer.Addr().String()+":80")
	}
}

// TestAnIsolatedGuest begins nothing but to its gateway, and answers the host.
func TestAnIsolatedGuest(t *testing.T) {
	m, inet := newWorld(t)
	p := isolatedPlan(t, 3)
	guest := newGuestOf(t, m, p, guestnet.MAC)
	guest.do(t, func() error { return serve(t, "guest", "0.0.0.0:80") })
	other := newGuest(t, m, 4, guestnet.MAC)
	other.do(t, func() error { return serve(t, "guest", "0.0.0.0:80") })
	if err := serve(t, "host", "0.0.0.0:80"); err != nil {
		t.Fatal(err)
	}
	heard := listen(t, inet)
	for name, to := range map[string]string{
		"the internet":                     webServer + ":80",
		"the name server":                  "10.0.2.3:53",
		"the resolver":                     network.ResolverAddress(network.DefaultOuter).String() + ":53",
		"another guest":                    plan(t, 4).Outer.Addr().String() + ":80",
		"the host by its side of the link": p.Host.Addr().String() + ":80",
		"the host by its address":          hostAddress + ":80",
		"a metadata address":               metadata + ":80",
		"its gateway's ports":              "10.0.2.2:81",
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, guest, "tcp", to)
			silent(t, guest, "", "udp", to)
		})
	}
	if from := heard(); from != "" {
		t.Errorf("the internet heard %s", from)
	}
	for _, proto := range []string{"tcp", "udp"} {
		if said, err := dial("", proto, p.Outer.Addr().String()+":80", patience); err != nil || said != "guest for "+p.Host.Addr().String() {
			t.Errorf("%s: %q, %v", proto, said, err)
		}
		reaches(t, other, proto, webServer+":80", "web for "+hostAddress)
	}
	if answered, err := guest.ping(guestnet.Gateway); err != nil || !answered {
		t.Errorf("the gateway does not answer: %v", err)
	}
}

func TestSpoofedSources(t *testing.T) {
	m, inet := newWorld(t)
	guest := newGuest(t, m, 3, guestnet.MAC)
	guest.do(t, func() error {
		nl := must(netlink.NewHandle(unix.NETLINK_ROUTE))
		defer nl.Close()
		for _, a := range []string{"10.0.2.16/32", "10.213.0.9/32", "192.0.2.99/32"} {
			if _, err := address(nl, "eth0", &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix(a))}); err != nil {
				return err
			}
		}
		return nil
	})
	heard := listen(t, inet)
	for _, source := range []string{"10.0.2.16", "10.213.0.9", "192.0.2.99"} {
		silent(t, guest, source, "tcp", webServer+":80")
		silent(t, guest, source, "udp", webServer+":99")
	}
	if from := heard(); from != "" {
		t.Errorf("the internet heard %s", from)
	}
	reaches(t, guest, "udp", webServer+":80", "web for "+hostAddress)
}

func TestAnotherHardwareAddressIsDropped(t *testing.T) {
	m, inet := newWorld(t)
	guest := newGuest(t, m, 3, "52:54:00:12:34:57")
	heard := listen(t, inet)
	silent(t, guest, "", "udp", webServer+":99")
	if from := heard(); from != "" {
		t.Errorf("the internet heard %s", from)
	}
}

// TestTheHostTrustsNoNamespace has a namespace without rules, as if a VMM had
// broken out into it: the host still lets pass the VM's own address only.
func TestTheHostTrustsNoNamespace(t *testing.T) {
	m, inet := newWorld(t)
	newGuest(t, m, 3, guestnet.MAC)
	p := plan(t, 3)
	vm := namespace(t, m, p)
	vm.do(t, func() error { return serve(t, "namespace", "0.0.0.0:81") })
	for _, loose := range []string{"1", "2"} { // 2: as sysctl.d(5) of systemd has it
		if err := setSysctls([]setting{{"ipv4/conf/all/rp_filter", loose}, {"ipv4/conf/" + p.Link + "/rp_filter", loose}}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = setSysctls([]setting{{"ipv4/conf/all/rp_filter", "0"}}) })
		vm.do(t, func() error {
			if out, err := exec.Command("nft", "flush ruleset").CombinedOutput(); err != nil {
				t.Error(string(out), err)
			}
			nl := must(netlink.NewHandle(unix.NETLINK_ROUTE))
			defer nl.Close()
			for _, a := range []string{"10.213.0.9/32", "203.0.113.7/32"} {
				l, err := nl.LinkByName(network.Uplink)
				if err == nil {
					err = nl.AddrReplace(l, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix(a))})
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		heard := listen(t, inet)
		for _, source := range []string{"10.213.0.9", "203.0.113.7"} {
			silent(t, vm, source, "udp", webServer+":99")
		}
		reaches(t, vm, "udp", webServer+":80", "web for "+hostAddress)
		if from := heard(); from != "" {
			t.Errorf("with rp_filter %s the internet heard %s", loose, from)
		}
		refused(t, vm, "tcp", metadata+":80")
		refused(t, vm, "tcp", plan(t, 4).Outer.Addr().String()+":80")
		refused(t, vm, "tcp", hostAddress+":80")
		silent(t, inet, "", "tcp", p.Outer.Addr().String()+":81")
	}
}

// namespace is where a VMM would be.
func namespace(t *testing.T, m *Manager, p network.Plan) place {
	t.Helper()
	ns, err := os.Open(m.path(p.ID))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return place{ns}
}

// listen returns a function that tells who sent something to port 99 meanwhile.
func listen(t *testing.T, at place) func() string {
	t.Helper()
	var fd int
	at.do(t, func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrInet4{Port: 99})
	})
	return func() string {
		defer unix.Close(fd)
		_, from, err := unix.Recvfrom(fd, make([]byte, 64), 0)
		if err != nil {
			return ""
		}
		return netip.AddrFrom4(from.(*unix.SockaddrInet4).Addr).String()
	}
}

// TestPortsThatOthersPublishAreClosed has a container as Docker makes one, with
// a port published on all addresses of the host.
func TestPortsThatOthersPublishAreClosed(t *testing.T) {
	m, inet := newWorld(t)
	guest := newGuest(t, m, 3, guestnet.MAC)
	container := newPlace(t, func(*netlink.Handle) error { return nil })
	join(t, container, "docker0", "172.17.0.1/24", "172.17.0.2/24")
	container.do(t, func() error { return serve(t, "container", "0.0.0.0:80") })
	runNft(t, `add table ip docker
add chain ip docker pre { type nat hook prerouting priority dstnat; }
add rule ip docker pre fib daddr type local tcp dport 8080 dnat to 172.17.0.2:80`)
	t.Cleanup(func() { runNft(t, "delete table ip docker") })
	reaches(t, inet, "tcp", hostAddress+":8080", "container for 192.0.2.2")
	refused(t, guest, "tcp", hostAddress+":8080")

	// Nor what another program redirects to a service of the host's.
	if err := serve(t, "proxy", "0.0.0.0:3128"); err != nil {
		t.Fatal(err)
	}
	runNft(t, "add rule ip docker pre tcp dport 80 redirect to :3128")
	refused(t, guest, "tcp", webServer+":80")
}

func TestOtherTablesComeAndGo(t *testing.T) {
	m, _ := newWorld(t)
	guest := newGuest(t, m, 3, guestnet.MAC)
	runNft(t, "add table ip filter\nadd chain ip filter forward { type filter hook forward priority 0; policy drop; }")
	silent(t, guest, "", "tcp", webServer+":80")
	runNft(t, "flush table ip filter\ndelete table ip filter")
	reaches(t, guest, "tcp", webServer+":80", "web for "+hostAddress)
	refused(t, guest, "tcp", metadata+":80")
}

func TestTheTableIsReplacedWhileConnectionsLast(t *testing.T) {
	m, _ := newWorld(t)
	guest := newGuest(t, m, 3, guestnet.MAC)
	other := hostTable()
	other.Resolver = netip.Addr{}
	for _, table := range []network.HostTable{hostTable(), other} {
		if err := EnsureTable(context.Background(), table); err != nil {
			t.Fatal(err)
		}
	}
	refused(t, guest, "tcp", "10.0.2.3:53")
	reaches(t, guest, "tcp", webServer+":80", "web for "+hostAddress)
}

// TestTheHostIsItsOwnResolver: the one service of the host's that guests reach.
func TestTheHostIsItsOwnResolver(t *testing.T) {
	m, _ := newWorld(t)
	guest := newGuest(t, m, 3, guestnet.MAC)
	table := hostTable()
	table.Resolver = netip.MustParseAddr(hostAddress)
	if err := EnsureTable(context.Background(), table); err != nil {
		t.Fatal(err)
	}
	if err := serve(t, "own names", hostAddress+":53"); err != nil {
		t.Fatal(err)
	}
	for _, proto := range []string{"tcp", "udp"} {
		reaches(t, guest, proto, "10.0.2.3:53", "own names for "+plan(t, 3).Outer.Addr().String())
	}
	refused(t, guest, "tcp", hostAddress+":53")
}

func TestRemovingTheTableTwice(t *testing.T) {
	needsRoot(t)
	for range 2 {
		if err := RemoveTable(context.Background()); err != nil {
			t.Error(err)
		}
	}
	if out := runNft(t, "list ruleset"); strings.TrimSpace(out) != "" {
		t.Error(out)
	}
}

// runNft runs in the tests' own namespace.
func runNft(t *testing.T, text string) string {
	t.Helper()
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
	return string(out)
}
