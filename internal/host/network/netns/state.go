//go:build linux

package netns

import (
	"errors"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	vnetns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/guest/guestnet"
	"banger/internal/host/network"
	"banger/internal/vmid"
)

// The kinds of Object.
const (
	KindNetns = "netns"
	KindLink  = "link"
)

// Object is an object of the host with a VM's name.
type Object struct {
	Kind string
	Name string
	ID   string
}

// List returns all objects with a VM's name, complete or not.
func (m *Manager) List() ([]Object, error) {
	var all []Object
	names, err := os.ReadDir(m.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, api.Errorf(api.KindInternal, "cannot list network namespaces: %w", err)
	}
	for _, n := range names {
		if id, ok := vmid.FromNetns(n.Name()); ok {
			all = append(all, Object{KindNetns, n.Name(), id})
		}
	}
	links, err := m.host.LinkList()
	if err != nil {
		return nil, api.Errorf(api.KindInternal, "cannot list links: %w", err)
	}
	for _, l := range links {
		if id, ok := vmid.FromLink(l.Attrs().Name); ok {
			all = append(all, Object{KindLink, l.Attrs().Name, id})
		}
	}
	return all, nil
}

// open opens the namespace with a VM's name and a netlink connection in it.
func (m *Manager) open(id string) (*netlink.Handle, error) {
	fd, err := unix.Open(m.path(id), unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	ns := os.NewFile(uintptr(fd), vmid.Netns(id))
	defer ns.Close()
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil || fs.Type != unix.NSFS_MAGIC {
		return nil, errors.New("a file, not a namespace")
	}
	var nl *netlink.Handle
	err = in(ns, func() error {
		nl, err = netlink.NewHandleAt(vnetns.None(), unix.NETLINK_ROUTE)
		return err
	})
	return nl, err
}

// whole reports whether everything in a plan exists.
func (m *Manager) whole(p network.Plan) bool {
	nl, err := m.open(p.ID)
	if err != nil {
		return false
	}
	defer nl.Close()
	host, err := m.host.LinkByName(p.Link)
	if err != nil {
		return false
	}
	uplink, err := nl.LinkByName(network.Uplink)
	if err != nil || uplink.Attrs().ParentIndex != host.Attrs().Index {
		return false
	}
	tap, err := nl.LinkByName(network.Tap)
	if err != nil || !ownedBy(tap, p.UID) {
		return false
	}
	return has(m.host, host, p.Host.String()) && has(nl, uplink, p.Outer.String()) && routed(nl, uplink) != p.Isolated &&
		knows(m.host, host, p.Outer.Addr(), p.UpMAC) && knows(nl, uplink, p.Host.Addr(), p.HostMAC) &&
		knows(nl, tap, guestnet.Address.Addr(), guestnet.MAC)
}

// knows reports whether a neighbour on a link is permanent.
func knows(nl *netlink.Handle, link netlink.Link, ip netip.Addr, hardware string) bool {
	all, err := nl.NeighList(link.Attrs().Index, netlink.FAMILY_V4)
	if err != nil {
		return false
	}
	for _, n := range all {
		if n.IP.Equal(ip.AsSlice()) {
			return n.State == netlink.NUD_PERMANENT && n.HardwareAddr.String() == hardware
		}
	}
	return false
}

func ownedBy(link netlink.Link, uid int) bool {
	tap, ok := link.(*netlink.Tuntap)
	return ok && int(tap.Owner) == uid && int(tap.Group) == uid
}

// has reports whether a link is up and has an address.
func has(nl *netlink.Handle, link netlink.Link, address string) bool {
	if link.Attrs().RawFlags&unix.IFF_UP == 0 {
		return false
	}
	all, err := nl.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return false
	}
	for _, a := range all {
		if a.IPNet.String() == address {
			return true
		}
	}
	return false
}

// routed reports whether a link has the default route.
func routed(nl *netlink.Handle, link netlink.Link) bool {
	all, err := nl.RouteList(link, netlink.FAMILY_V4)
	if err != nil {
		return false
	}
	for _, r := range all {
		if r.Dst == nil || r.Dst.IP.IsUnspecified() {
			return true
		}
	}
	return false
}

// empty reports whether a VM's namespace exists and has no link to the host.
func (m *Manager) empty(id string) bool {
	nl, err := m.open(id)
	if err != nil {
		return false
	}
	defer nl.Close()
	links, err := nl.LinkList()
	return err == nil && len(links) == 1
}
