//go:build linux

package netns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/host/network"
	"banger/internal/vmid"
)

const uidBase = 1900000000

func newManager(t testing.TB, size int) *Manager {
	t.Helper()
	m, err := New(Options{Pool: size})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	m.Fill()
	return m
}

func plan(t testing.TB, slot int) network.Plan {
	t.Helper()
	p, err := network.New(network.Spec{ID: fmt.Sprintf("%012x", slot+0xabc000), Slot: slot, UID: uidBase + slot})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func isolatedPlan(t testing.TB, slot int) network.Plan {
	t.Helper()
	p := plan(t, slot)
	again, err := network.New(network.Spec{ID: p.ID, Slot: p.Slot, UID: p.UID, Isolated: true})
	if err != nil {
		t.Fatal(err)
	}
	return again
}

func attach(t testing.TB, m *Manager, p network.Plan) {
	t.Helper()
	if err := m.Attach(context.Background(), p); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Detach(context.Background(), p.ID); err != nil {
			t.Error(err)
		}
	})
}

func mustList(t testing.TB, m *Manager, want ...Object) {
	t.Helper()
	got, err := m.List()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the host has %v, want %v", got, want)
	}
}

func objects(p network.Plan) []Object {
	return []Object{{KindNetns, p.Netns, p.ID}, {KindLink, p.Link, p.ID}}
}

func TestAttachAndDetachTwice(t *testing.T) {
	needsRoot(t)
	m, p := newManager(t, 1), plan(t, 7)
	for range 2 {
		attach(t, m, p)
		if !m.whole(p) {
			t.Error("what was made is not whole")
		}
		mustList(t, m, objects(p)...)
	}
	for range 2 {
		if err := m.Detach(context.Background(), p.ID); err != nil {
			t.Error(err)
		}
		mustList(t, m)
	}
}

func TestAttachAgainLeavesTheNetworkAlone(t *testing.T) {
	needsRoot(t)
	m, p := newManager(t, 0), plan(t, 7)
	attach(t, m, p)
	before, index := inode(t, m.path(p.ID)), linkIndex(t, m, p.Link)
	attach(t, m, p)
	if after := inode(t, m.path(p.ID)); after != before {
		t.Errorf("the namespace was %d and is %d", before, after)
	}
	if after := linkIndex(t, m, p.Link); after != index {
		t.Errorf("the link was %d and is %d", index, after)
	}
}

// TestAttachChangesWhetherAGuestIsIsolated: a namespace that was made for the other kind is made
// again.
func TestAttachChangesWhetherAGuestIsIsolated(t *testing.T) {
	needsRoot(t)
	m, open, isolated := newManager(t, 0), plan(t, 7), isolatedPlan(t, 7)
	if open == isolated {
		t.Fatal("the plans are equal")
	}
	for _, p := range []network.Plan{open, isolated, isolated, open} {
		attach(t, m, p)
		if whole := m.whole(p); !whole {
			t.Errorf("not complete:\n%s", p)
		}
		other := open
		if p == open {
			other = isolated
		}
		if m.whole(other) {
			t.Errorf("taken for the other:\n%s", p)
		}
	}
}

func inode(t testing.TB, path string) uint64 {
	t.Helper()
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		t.Fatal(err)
	}
	return s.Ino
}

func linkIndex(t testing.TB, m *Manager, name string) int {
	t.Helper()
	l, err := m.host.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return l.Attrs().Index
}

// TestAttachRepairs breaks a network in every way that a crash or a person can.
func TestAttachRepairs(t *testing.T) {
	needsRoot(t)
	for name, damage := range map[string]func(t *testing.T, m *Manager, p network.Plan) error{
		"the link is gone":       func(_ *testing.T, m *Manager, p network.Plan) error { return m.unlink(p.Link) },
		"the name is gone":       func(_ *testing.T, m *Manager, p network.Plan) error { return m.unname(p.ID) },
		"the name is a file":     func(_ *testing.T, m *Manager, p network.Plan) error { return unmount(m.path(p.ID)) },
		"the link is down":       func(_ *testing.T, m *Manager, p network.Plan) error { return down(m.host, p.Link) },
		"the uplink is down":     inSpace(func(nl *netlink.Handle) error { return down(nl, network.Uplink) }),
		"the tap is gone":        inSpace(func(nl *netlink.Handle) error { return remove(nl, network.Tap) }),
		"the address is another": func(_ *testing.T, m *Manager, p network.Plan) error { return readdress(m.host, p.Link) },
		"the host forgot the guest's end": func(_ *testing.T, m *Manager, p network.Plan) error {
			return forgetNeighbours(m.host, p.Link)
		},
		"the namespace forgot the host's end": inSpace(func(nl *netlink.Handle) error { return forgetNeighbours(nl, network.Uplink) }),
		"the namespace forgot the guest":      inSpace(func(nl *netlink.Handle) error { return forgetNeighbours(nl, network.Tap) }),
		"another VM's name is on it": func(t *testing.T, m *Manager, p network.Plan) error {
			other := plan(t, 8)
			attach(t, m, other)
			if err := unmount(m.path(p.ID)); err != nil {
				return err
			}
			return unix.Mount(m.path(other.ID), m.path(p.ID), "", unix.MS_BIND, "")
		},
		"something is mounted over it": func(_ *testing.T, m *Manager, p network.Plan) error {
			return unix.Mount("/dev/null", m.path(p.ID), "", unix.MS_BIND, "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, p := newManager(t, 0), plan(t, 7)
			attach(t, m, p)
			if err := damage(t, m, p); err != nil {
				t.Fatal(err)
			}
			if m.whole(p) {
				t.Error("it is taken for whole")
			}
			attach(t, m, p)
			if !m.whole(p) {
				t.Error("it was not repaired")
			}
			for range 2 {
				if err := m.Detach(context.Background(), p.ID); err != nil {
					t.Error(err)
				}
			}
			for _, o := range must(m.List()) {
				if o.ID == p.ID {
					t.Errorf("%v is left", o)
				}
			}
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func unmount(path string) error { return unix.Unmount(path, unix.MNT_DETACH) }

func inSpace(fn func(*netlink.Handle) error) func(*testing.T, *Manager, network.Plan) error {
	return func(_ *testing.T, m *Manager, p network.Plan) error {
		nl, err := m.open(p.ID)
		if err != nil {
			return err
		}
		defer nl.Close()
		return fn(nl)
	}
}

func down(nl *netlink.Handle, name string) error {
	l, err := nl.LinkByName(name)
	if err != nil {
		return err
	}
	return nl.LinkSetDown(l)
}

func remove(nl *netlink.Handle, name string) error {
	l, err := nl.LinkByName(name)
	if err != nil {
		return err
	}
	return nl.LinkDel(l)
}

func forgetNeighbours(nl *netlink.Handle, name string) error {
	l, err := nl.LinkByName(name)
	if err != nil {
		return err
	}
	all, err := nl.NeighList(l.Attrs().Index, netlink.FAMILY_V4)
	for _, n := range all {
		err = errors.Join(err, nl.NeighDel(&n))
	}
	return err
}

func readdress(nl *netlink.Handle, name string) error {
	l, err := nl.LinkByName(name)
	if err != nil {
		return err
	}
	all, err := nl.AddrList(l, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	return errors.Join(nl.AddrDel(l, &all[0]), nl.AddrAdd(l, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("10.213.9.9/32"))}))
}

func TestDetachRemovesHalfAVMAndNoMore(t *testing.T) {
	needsRoot(t)
	m, p, other := newManager(t, 0), plan(t, 7), plan(t, 8)
	attach(t, m, other)
	if err := os.WriteFile(m.path(p.ID), nil, 0o444); err != nil {
		t.Fatal(err)
	}
	if err := m.Detach(context.Background(), p.ID); err != nil {
		t.Error(err)
	}
	mustList(t, m, objects(other)...)
	if !m.whole(other) {
		t.Error("another VM's network was damaged")
	}
}

// TestBesideIPNetns has ip-netns(8) make and remove a name of its own meanwhile.
func TestBesideIPNetns(t *testing.T) {
	needsRoot(t)
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("ip (iproute2) is not installed")
	}
	m, p := newManager(t, 0), plan(t, 7)
	attach(t, m, p)
	for _, args := range [][]string{{"netns", "add", "foreign"}, {"netns", "exec", p.Netns, "ip", "link", "show", network.Tap}} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v: %s", args, err, out)
		}
	}
	if err := m.Detach(context.Background(), p.ID); err != nil {
		t.Error(err)
	}
	mustList(t, m)
	if out, err := exec.Command("ip", "netns", "delete", "foreign").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if mounts := string(must(os.ReadFile("/proc/self/mounts"))); strings.Contains(mounts, vmid.Netns(p.ID)) {
		t.Errorf("a name is still mounted:\n%s", mounts)
	}
}

func TestForeignNamesAreNotListed(t *testing.T) {
	needsRoot(t)
	m := newManager(t, 0)
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"banger-", "banger-xyz", "banger-0123456789ab0", "other"} {
		path := filepath.Join(m.dir, name)
		if err := os.WriteFile(path, nil, 0o444); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(path)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "bvother"
	if err := m.host.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "bvpeer"}); err != nil {
		t.Fatal(err)
	}
	defer remove(m.host, attrs.Name)
	mustList(t, m)
}

func TestAttachNone(t *testing.T) {
	needsRoot(t)
	m, p := newManager(t, 0), plan(t, 7)
	defer m.Detach(context.Background(), p.ID)
	attach(t, m, p) // it had a network once
	var first uint64
	for range 2 {
		if err := m.AttachNone(context.Background(), p.ID); err != nil {
			t.Fatal(err)
		}
		mustList(t, m, objects(p)[:1]...)
		nl, err := m.open(p.ID)
		if err != nil {
			t.Fatal(err)
		}
		defer nl.Close()
		links, err := nl.LinkList()
		if err != nil || len(links) != 1 || links[0].Attrs().Name != "lo" || links[0].Attrs().RawFlags&unix.IFF_UP == 0 {
			t.Error(links, err)
		}
		if now := inode(t, m.path(p.ID)); first != 0 && now != first {
			t.Error("the second time made another namespace")
		} else {
			first = now
		}
	}
}

func TestForgedPlansAreRefused(t *testing.T) {
	needsRoot(t)
	m := newManager(t, 0)
	for name, change := range map[string]func(*network.Plan){
		"id":      func(p *network.Plan) { p.ID = "../../etc" },
		"link":    func(p *network.Plan) { p.Link = "eth0" },
		"slot":    func(p *network.Plan) { p.Slot++ },
		"address": func(p *network.Plan) { p.Host = netip.MustParsePrefix("192.0.2.0/31") },
		"root":    func(p *network.Plan) { p.UID = 0 },
		"prefix": func(p *network.Plan) {
			*p, _ = network.New(network.Spec{ID: p.ID, Slot: p.Slot, UID: p.UID, Outer: netip.MustParsePrefix("172.30.0.0/16")})
		},
	} {
		p := plan(t, 7)
		change(&p)
		if err := m.Attach(context.Background(), p); api.KindOf(err) != api.KindInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, id := range []string{"", "..", "0123456789AB", "0123456789ab/"} {
		if err := m.Detach(context.Background(), id); api.KindOf(err) != api.KindInvalid {
			t.Errorf("%q: %v", id, err)
		}
		if err := m.AttachNone(context.Background(), id); api.KindOf(err) != api.KindInvalid {
			t.Errorf("%q: %v", id, err)
		}
	}
	mustList(t, m)
}

func TestAFailedAttachLeavesNothing(t *testing.T) {
	needsRoot(t)
	m, p := newManager(t, 0), plan(t, 7)
	m.dir = "/proc/no-such-directory"
	if err := m.Attach(context.Background(), p); err == nil {
		t.Error("it succeeded")
	} else if !strings.Contains(err.Error(), p.ID) {
		t.Error(err)
	}
	m.dir = RunDir
	mustList(t, m)
}

func TestAttachManyAtOnce(t *testing.T) {
	needsRoot(t)
	m := newManager(t, 2)
	failures := make(chan error)
	const n = 12
	for i := range n {
		p := plan(t, i)
		go func() { failures <- m.Attach(context.Background(), p) }()
	}
	for range n {
		if err := <-failures; err != nil {
			t.Error(err)
		}
	}
	for i := range n {
		p := plan(t, i)
		if !m.whole(p) {
			t.Errorf("VM %d has half a network", i)
		}
		if err := m.Detach(context.Background(), p.ID); err != nil {
			t.Error(err)
		}
	}
	mustList(t, m)
}
