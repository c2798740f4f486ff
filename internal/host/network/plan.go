// Package network plans the network of a VM in system mode: its names, addresses and
// rules. It only computes: it changes nothing and needs no privileges. Package netns
// applies a plan.
//
// Every guest sees the same network, that of user mode (package guestnet), and is alone in
// its network namespace. The namespace translates addresses to the VM's own outer
// address. A point-to-point link (RFC 3021) connects it to the host.
package network

import (
	"fmt"
	"math"
	"net/netip"
	"strings"

	"banger/api"
	"banger/internal/guest/guestnet"
	"banger/internal/vmid"
)

// The interfaces in a VM's namespace.
const (
	Tap    = "tap0" // the guest's, which the VMM opens
	Uplink = "up0"  // the inner end of the link to the host
)

// GatewayMAC is the hardware address of the gateway that every guest sees: that of QEMU's user
// network, which libslirp gives it.
const GatewayMAC = "52:55:0a:00:02:02"

// DefaultOuter is the default range of VMs' outer addresses: a part of 10.0.0.0/8 (RFC
// 1918) that home routers, Docker, libvirt and Kubernetes do not use by default.
var DefaultOuter = netip.MustParsePrefix("10.213.0.0/16")

// Spec is the input of a plan.
type Spec struct {
	ID    string
	Slot  int          // the VM's number, which determines its outer address
	Outer netip.Prefix // the range of outer addresses; zero: DefaultOuter
	UID   int          // who may open the tap: uid and gid of the VMM
	// Isolated: the guest reaches nothing beyond its gateway; the host reaches it.
	Isolated bool
}

// Plan is a VM's network.
type Plan struct {
	ID      string
	Slot    int
	UID     int
	Netns   string       // the namespace, below /run/netns
	Link    string       // the host's end of the link
	Host    netip.Prefix // its address, a /31
	Outer   netip.Prefix // the VM's outer address, on Uplink; the same /31
	HostMAC string
	UpMAC   string
	// Isolated: the namespace has no default route, and its rules refuse what the guest
	// begins, except to its gateway.
	Isolated bool
}

// Slots returns how many VMs an outer prefix has addresses for, or an error if it is
// not valid. The last pair of addresses is reserved for ResolverAddress.
func Slots(outer netip.Prefix) (int, error) {
	refuse := func(why string) error {
		return api.Errorf(api.KindInvalid, "cannot use %s for VMs' outer addresses: %s", outer, why).
			WithHint("choose an unused private IPv4 prefix, such as %s", DefaultOuter)
	}
	switch addr := outer.Addr(); {
	case !outer.IsValid():
		return 0, refuse("it is not a valid prefix")
	case !addr.Is4():
		return 0, refuse("it is not IPv4")
	case outer != outer.Masked():
		return 0, refuse("it has bits set beyond its length")
	case outer.Bits() < 8 || outer.Bits() > 30:
		return 0, refuse("its length is not between 8 and 30")
	case !addr.IsGlobalUnicast() || addr.As4()[0] == 0 || addr.As4()[0] >= 240:
		return 0, refuse("it contains no ordinary addresses")
	case outer.Overlaps(guestnet.Address):
		return 0, refuse(fmt.Sprintf("it overlaps %s, which guests see", guestnet.Address.Masked()))
	}
	return 1<<(32-outer.Bits()-1) - 1, nil
}

// ResolverAddress is the address to which namespaces send a guest's DNS requests; the
// host's table redirects them to the host's own resolver. So a namespace's rules do not
// change with the resolver, and a resolver works whose address is the one that guests
// see as DNS (10.0.2.3, on a host that is itself a guest). No interface has this
// address. The prefix must be valid for Slots.
func ResolverAddress(outer netip.Prefix) netip.Addr {
	slots, _ := Slots(outer)
	return nth(outer, 2*slots)
}

// nth returns the address with a given number in a prefix.
func nth(prefix netip.Prefix, n int) netip.Addr {
	b := prefix.Addr().As4()
	v := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	v += uint32(n)
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
}

// New computes the plan of a VM's network.
func New(s Spec) (Plan, error) {
	if !vmid.Valid(s.ID) {
		return Plan{}, api.Errorf(api.KindInvalid, "cannot plan a network: %q is not a valid VM id", s.ID)
	}
	if !s.Outer.IsValid() {
		s.Outer = DefaultOuter
	}
	slots, err := Slots(s.Outer)
	if err != nil {
		return Plan{}, err
	}
	if s.Slot < 0 || s.Slot >= slots {
		return Plan{}, api.Errorf(api.KindInvalid, "cannot plan a network: slot %d is not one of the %d in %s", s.Slot, slots, s.Outer)
	}
	// The highest number is not a uid: chown(2) uses it for "unchanged".
	if s.UID < 1 || s.UID >= math.MaxUint32 {
		return Plan{}, api.Errorf(api.KindInvalid, "cannot plan a network: uid %d is not valid for a VM", s.UID)
	}
	host, inner := nth(s.Outer, 2*s.Slot), nth(s.Outer, 2*s.Slot+1)
	return Plan{
		ID: s.ID, Slot: s.Slot, UID: s.UID, Netns: vmid.Netns(s.ID), Link: vmid.Link(s.ID),
		Host: netip.PrefixFrom(host, 31), Outer: netip.PrefixFrom(inner, 31),
		HostMAC: mac(host), UpMAC: mac(inner), Isolated: s.Isolated,
	}, nil
}

// mac derives a locally administered hardware address from an IPv4 address. It is set
// when a link is made, since udev changes addresses that were not set (systemd.link(5),
// MACAddressPolicy).
func mac(a netip.Addr) string {
	b := a.As4()
	return fmt.Sprintf("02:00:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3])
}

// String describes the host after the plan is applied, one line per object, in the
// syntax of ip(8).
func (p Plan) String() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("netns %s", p.Netns)
	line("  link lo up")
	line("  link %s tap owner %d group %d address %s up", Tap, p.UID, p.UID, GatewayMAC)
	line("    addr %s", netip.PrefixFrom(guestnet.Gateway, guestnet.Address.Bits()))
	line("    addr %s", netip.PrefixFrom(guestnet.DNS, guestnet.DNS.BitLen()))
	line("    neigh %s lladdr %s permanent", guestnet.Address.Addr(), guestnet.MAC)
	line("  link %s veth peer %s address %s up", Uplink, p.Link, p.UpMAC)
	line("    addr %s", p.Outer)
	line("    neigh %s lladdr %s permanent", p.Host.Addr(), p.HostMAC)
	if p.Isolated {
		line("  rules isolated")
	} else {
		line("  route default via %s dev %s", p.Host.Addr(), Uplink)
	}
	line("link %s veth peer %s netns %s address %s up", p.Link, Uplink, p.Netns, p.HostMAC)
	line("  addr %s", p.Host)
	line("  neigh %s lladdr %s permanent", p.Outer.Addr(), p.UpMAC)
	return b.String()
}
