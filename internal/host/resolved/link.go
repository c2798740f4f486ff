//go:build linux

package resolved

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"banger/internal/host/network"
)

// ensureLink makes the link with its address, or completes it, and returns its index.
func ensureLink(nl *netlink.Handle) (int, error) {
	link, err := nl.LinkByName(network.NamesLink)
	var absent netlink.LinkNotFoundError
	if errors.As(err, &absent) {
		if err = addLink(nl); err == nil {
			link, err = nl.LinkByName(network.NamesLink)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("make the link %s: %w", network.NamesLink, err)
	}
	if kind := link.Type(); kind != "dummy" && kind != "veth" {
		return 0, fmt.Errorf("use the link %s: it is a %.20s, not banger's", network.NamesLink, kind)
	}
	if err := ensureAddress(nl, link); err != nil {
		return 0, fmt.Errorf("give %s to %s: %w", network.NamesAddress, network.NamesLink, err)
	}
	return link.Attrs().Index, nil
}

// addLink makes a dummy link, which takes nothing to anywhere, or on a kernel without these a veth,
// which VMs' links are too.
func addLink(nl *netlink.Handle) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = network.NamesLink
	err := nl.LinkAdd(&netlink.Dummy{LinkAttrs: attrs})
	if !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	if err := nl.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: network.NamesPeer}); err != nil {
		return err
	}
	peer, err := nl.LinkByName(network.NamesPeer) // without it the link has no carrier
	if err == nil {
		err = errors.Join(noIPv6(network.NamesPeer), nl.LinkSetUp(peer))
	}
	return err
}

// ensureAddress gives the link its address. Its scope is global, as systemd-resolved uses no link
// whose addresses are all of a smaller one (link_address_relevant in resolved-link.c); no network
// gets a route to it by that.
func ensureAddress(nl *netlink.Handle, link netlink.Link) error {
	want := &net.IPNet{IP: network.NamesAddress.AsSlice(), Mask: net.CIDRMask(32, 32)}
	all, err := nl.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	there := false
	for _, a := range all {
		there = there || a.IPNet.String() == want.String()
	}
	if !there {
		err = errors.Join(noIPv6(network.NamesLink), nl.AddrAdd(link, &netlink.Addr{IPNet: want, Scope: unix.RT_SCOPE_UNIVERSE}))
	}
	if err == nil && link.Attrs().RawFlags&unix.IFF_UP == 0 {
		err = nl.LinkSetUp(link)
	}
	return err
}

// noIPv6 turns IPv6 off on a link, which would get an address of its own. It does not exist if IPv6
// is disabled at boot.
func noIPv6(link string) error {
	err := os.WriteFile("/proc/sys/net/ipv6/conf/"+link+"/disable_ipv6", []byte("1"), 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// removeLink removes the link if it is there.
func removeLink(nl *netlink.Handle) error {
	link, err := nl.LinkByName(network.NamesLink)
	var absent netlink.LinkNotFoundError
	if errors.As(err, &absent) {
		return nil
	}
	if err == nil {
		err = nl.LinkDel(link)
	}
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove the link %s: %w", network.NamesLink, err)
	}
	return nil
}
