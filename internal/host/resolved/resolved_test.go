//go:build linux

package resolved

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/host/network"
)

// TestMain runs the tests in a network namespace of their own, if root does: all threads are made
// after the first is in it.
func TestMain(m *testing.M) {
	if os.Geteuid() == 0 {
		if os.Getenv("IN_NAMESPACE") == "" {
			inNamespace()
		}
		nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err == nil {
			var lo netlink.Link
			if lo, err = nl.LinkByName("lo"); err == nil {
				err = nl.LinkSetUp(lo)
			}
			nl.Close()
		}
		if err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

func inNamespace() {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return // the tests that need it are skipped
	}
	err := unix.Exec("/proc/self/exe", os.Args, append(os.Environ(), "IN_NAMESPACE=1"))
	panic(err)
}

func needsNamespace(t *testing.T) {
	t.Helper()
	if os.Getenv("IN_NAMESPACE") == "" {
		t.Skip("NOT RUN: only root can make a network namespace")
	}
	nl := handle(t)
	t.Cleanup(func() {
		if err := removeLink(nl); err != nil {
			t.Error(err)
		}
	})
}

func handle(t *testing.T) *netlink.Handle {
	t.Helper()
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nl.Close)
	return nl
}

func newNames(f *fakeResolved) *Names {
	return &Names{Log: slog.New(slog.DiscardHandler), bus: f.address, pause: time.Millisecond}
}

const setAll = `Get[org.freedesktop.resolve1.Manager Domains]
SetLinkDNSSEC[7 no]
SetLinkDNSOverTLS[7 no]
SetLinkLLMNR[7 no]
SetLinkMulticastDNS[7 no]
SetLinkDefaultRoute[7 false]
SetLinkDNS[7 [[2 [169 254 213 53]]]]
SetLinkDomains[7 [[vm true] [banger true]]]`

func names(i int) string { return fmt.Sprint("link", i) }

func TestTellSetsWhatIsMissing(t *testing.T) {
	f := newFake(t)
	n := newNames(f)
	for _, want := range []string{setAll, "Get[org.freedesktop.resolve1.Manager Domains]"} {
		if taken, err := n.tell(t.Context(), 7, names); err != nil || taken != nil {
			t.Fatal(taken, err)
		}
		if got := f.took(); got != want {
			t.Errorf("calls:\n%s", got)
		}
	}
	f.set(func() { f.domains = f.domains[:1] }) // another program changed it
	if _, err := n.tell(t.Context(), 7, names); err != nil || f.took() != setAll {
		t.Error("it is not set again", err)
	}
}

func TestTellFindsWhoElseHasAZone(t *testing.T) {
	f := newFake(t)
	f.set(func() {
		f.domains = []domain{{3, "vm", true}, {4, "Banger.", false}, {0, "vm", false}, {5, "corp.vm", true}}
	})
	taken, err := newNames(f).tell(t.Context(), 7, names)
	if want := []string{"vm of link3", "vm of all links (resolved.conf)", "banger of link4"}; err != nil || !slices.Equal(taken, want) {
		t.Errorf("%q, %v", taken, err)
	}
}

func TestTellSaysWhyNot(t *testing.T) {
	f := newFake(t)
	n := newNames(f)
	f.set(func() { f.absent = true })
	if _, err := n.tell(t.Context(), 7, names); !errors.Is(err, errAbsent) {
		t.Errorf("absent: %v", err)
	}
	f.set(func() {
		f.absent, f.refuse = false, map[string]string{"SetLinkDNS": "org.freedesktop.resolve1.LinkBusy"}
	})
	if _, err := n.tell(t.Context(), 7, names); err == nil || !strings.Contains(err.Error(), "belongs to systemd-networkd") {
		t.Errorf("busy: %v", err)
	}
	f.set(func() { f.refuse = map[string]string{"Get": "org.freedesktop.DBus.Error.AccessDenied"} })
	if _, err := n.tell(t.Context(), 7, names); err == nil || !strings.Contains(err.Error(), "cannot ask systemd-resolved"[7:]) {
		t.Errorf("denied: %v", err)
	}
	n.bus = "unix:path=/nowhere"
	if _, err := n.tell(t.Context(), 7, names); err == nil || !strings.Contains(err.Error(), "reach the message bus") {
		t.Errorf("no bus: %v", err)
	}
}

func TestTheLinkComesAndGoes(t *testing.T) {
	needsNamespace(t)
	f, nl := newFake(t), handle(t)
	n := newNames(f)
	for range 2 {
		if s, err := n.Ensure(t.Context()); err != nil || s.Problem != "" {
			t.Fatal(s, err)
		}
	}
	link, err := nl.LinkByName(network.NamesLink)
	if err != nil {
		t.Fatal(err)
	}
	all, err := nl.AddrList(link, netlink.FAMILY_ALL)
	// What systemd-resolved looks for: an address of a scope that is not the link's, and a carrier.
	if err != nil || len(all) != 1 || all[0].IPNet.String() != "169.254.213.53/32" || all[0].Scope != unix.RT_SCOPE_UNIVERSE {
		t.Errorf("%v, %v", all, err)
	}
	if flags := link.Attrs().RawFlags; flags&unix.IFF_UP == 0 || flags&unix.IFF_LOWER_UP == 0 {
		t.Errorf("flags %x", flags)
	}
	// What somebody took away comes back.
	if err := errors.Join(nl.AddrDel(link, &all[0]), nl.LinkSetDown(link)); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if all, err := nl.AddrList(link, netlink.FAMILY_V4); err != nil || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
	for range 2 {
		if err := n.Remove(); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{network.NamesLink, network.NamesPeer} {
		if _, err := nl.LinkByName(name); err == nil {
			t.Errorf("%s is left", name)
		}
	}
}

func TestWithoutResolvedOnlyTheLinkIsMade(t *testing.T) {
	needsNamespace(t)
	f := newFake(t)
	f.set(func() { f.absent = true })
	s, err := newNames(f).Ensure(t.Context())
	if err != nil || !s.Absent || s.Problem != "systemd-resolved does not run" {
		t.Errorf("%+v, %v", s, err)
	}
	if got := f.took(); strings.Contains(got, "Set") {
		t.Errorf("it was told:\n%s", got)
	}
}

func TestAForeignLinkIsLeftAlone(t *testing.T) {
	needsNamespace(t)
	nl := handle(t)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = network.NamesLink
	if err := nl.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
		t.Skipf("NOT RUN: %v", err)
	}
	if _, err := newNames(newFake(t)).Ensure(t.Context()); err == nil || !strings.Contains(err.Error(), "not banger's") {
		t.Error(err)
	}
}

// TestListen: the host's own programs reach the sockets, and a packet that comes by another link
// does not.
func TestListen(t *testing.T) {
	needsNamespace(t)
	n := newNames(newFake(t))
	if _, err := n.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	files, err := n.Listen(t.Context())
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	udp, err := net.FilePacketConn(files[0])
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	tcp, err := net.FileListener(files[1])
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	for _, f := range files {
		f.Close()
	}
	const at = "169.254.213.53:53"
	if udp.LocalAddr().String() != at || tcp.Addr().String() != at {
		t.Errorf("%s, %s", udp.LocalAddr(), tcp.Addr())
	}
	for _, proto := range []string{"udp", "tcp"} {
		conn, err := net.DialTimeout(proto, at, time.Second)
		if err != nil {
			t.Errorf("%s: %v", proto, err)
			continue
		}
		_, _ = conn.Write([]byte("x"))
		conn.Close()
	}
	_ = udp.SetDeadline(time.Now().Add(time.Second))
	if read, from, err := udp.ReadFrom(make([]byte, 9)); read != 1 || err != nil || !strings.HasPrefix(from.String(), "169.254.213.53:") {
		t.Errorf("%d bytes from %v, %v", read, from, err)
	}
	if _, err := n.Listen(t.Context()); api.KindOf(err) != api.KindConflict {
		t.Errorf("taken: %v", err)
	}
	// By another link, here that of the loopback address: as from another machine.
	bound := net.Dialer{Timeout: 100 * time.Millisecond, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, Control: func(_, _ string, raw syscall.RawConn) (err error) {
		_ = raw.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), "lo") })
		return err
	}}
	if conn, err := bound.Dial("tcp", at); err == nil {
		conn.Close()
		t.Error("another link leads to the sockets")
	}
	// A new link is known by its index.
	before, err := n.Ensure(t.Context())
	if err != nil || n.Remove() != nil {
		t.Fatal(err)
	}
	if after, err := n.Ensure(t.Context()); err != nil || after.Link == before.Link {
		t.Errorf("%+v, then %+v, %v", before, after, err)
	}
}

func TestKeepUntilItEnds(t *testing.T) {
	needsNamespace(t)
	f, nl := newFake(t), handle(t)
	n := newNames(f)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); n.Keep(ctx) }()
	eventually(t, "the zones are routed", func() bool { return strings.Contains(f.took(), "SetLinkDomains") })
	f.set(func() { f.domains = nil }) // systemd-resolved was started again and has forgotten
	eventually(t, "the zones are routed again", func() bool { return strings.Contains(f.took(), "SetLinkDomains") })
	if err := n.Remove(); err != nil { // before an uninstallation
		t.Fatal(err)
	}
	f.took()
	time.Sleep(20 * time.Millisecond)
	if got := f.took(); got != "" {
		t.Errorf("after it was removed: %s", got)
	}
	if _, err := n.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	cancel()
	<-ended
	link, err := nl.LinkByName(network.NamesLink)
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("RevertLink[%d]", link.Attrs().Index); !strings.HasSuffix(f.took(), want) {
		t.Error("systemd-resolved was not told that it is over")
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not so: " + what)
		}
	}
}
