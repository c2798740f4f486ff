//go:build linux

package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/host/network"
	"banger/internal/vmid"
)

// Attach makes a VM's network. A complete existing network is kept; an incomplete one
// is made again, so no VMM may be using it.
//
// The namespace gets its name last: a network with a name was complete at some time.
func (m *Manager) Attach(ctx context.Context, p network.Plan) error {
	if err := m.ours(p); err != nil {
		return err
	}
	if m.whole(p) {
		return nil
	}
	if err := m.Detach(ctx, p.ID); err != nil {
		return err
	}
	s, err := m.space(ctx, p)
	if err != nil {
		return err
	}
	defer s.close()
	if err := m.configure(s, p); err != nil {
		err = api.Errorf(kindOf(err), "cannot make the network of VM %s: %w", p.ID, err)
		return errors.Join(err, m.Detach(context.WithoutCancel(ctx), p.ID))
	}
	return nil
}

// space returns a namespace for a plan.
func (m *Manager) space(ctx context.Context, p network.Plan) (*space, error) {
	if p.Isolated {
		return newSpace(ctx, m.isolatedRules)
	}
	return m.pool.take(ctx)
}

// ours refuses a plan that package network does not make for this Manager: names and
// addresses are not taken from elsewhere.
func (m *Manager) ours(p network.Plan) error {
	again, err := network.New(network.Spec{ID: p.ID, Slot: p.Slot, Outer: m.outer, UID: p.UID, Isolated: p.Isolated})
	if err == nil && again != p {
		err = api.Errorf(api.KindInvalid, "cannot make the network of VM %s: it was not planned for %s", p.ID, m.outer)
	}
	return err
}

func (m *Manager) configure(s *space, p network.Plan) error {
	if err := m.join(s, p); err != nil {
		return err
	}
	if err := s.own(p.UID); err != nil {
		return err
	}
	return m.name(s.ns, p.ID)
}

// join makes the link between the host and the namespace.
func (m *Manager) join(s *space, p network.Plan) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr = p.Link, mac(p.HostMAC)
	veth := &netlink.Veth{
		LinkAttrs: attrs, PeerName: network.Uplink, PeerHardwareAddr: mac(p.UpMAC),
		PeerNamespace: netlink.NsFd(s.ns.Fd()),
	}
	if err := m.host.LinkAdd(veth); err != nil {
		return fmt.Errorf("make the link %s: %w", p.Link, err)
	}
	if err := setSysctls(linkSysctls(p.Link)); err != nil {
		return err
	}
	// Each end knows the other permanently, so that no traffic makes an entry in the
	// neighbour table, which all namespaces share, or waits for space in it.
	host, err := address(m.host, p.Link, &netlink.Addr{IPNet: ipNet(p.Host)})
	if err == nil {
		err = addNeighbour(m.host, host, p.Outer.Addr(), p.UpMAC)
	}
	if err != nil {
		return err
	}
	inner, err := address(s.nl, network.Uplink, &netlink.Addr{IPNet: ipNet(p.Outer)})
	if err == nil {
		err = addNeighbour(s.nl, inner, p.Host.Addr(), p.HostMAC)
	}
	if err != nil {
		return err
	}
	if p.Isolated {
		return nil // the host is on the link
	}
	if err := s.nl.RouteAdd(&netlink.Route{Gw: net.IP(p.Host.Addr().AsSlice())}); err != nil {
		return fmt.Errorf("set the default route: %w", err)
	}
	return nil
}

// address gives an address to a link, sets it up and returns it.
func address(nl *netlink.Handle, name string, a *netlink.Addr) (netlink.Link, error) {
	link, err := nl.LinkByName(name)
	if err == nil {
		err = nl.AddrAdd(link, a)
	}
	if err == nil {
		err = nl.LinkSetUp(link)
	}
	if err != nil {
		return nil, fmt.Errorf("give %s to %s: %w", a.IPNet, name, err)
	}
	return link, nil
}

// addNeighbour adds a permanent neighbour on a link. The link must be up: the kernel
// removes all neighbours when it goes down.
func addNeighbour(nl *netlink.Handle, link netlink.Link, ip netip.Addr, hardware string) error {
	err := nl.NeighSet(&netlink.Neigh{
		LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT, Family: netlink.FAMILY_V4,
		IP: ip.AsSlice(), HardwareAddr: mac(hardware),
	})
	if err != nil {
		return fmt.Errorf("make %s known at %s: %w", ip, link.Attrs().Name, err)
	}
	return nil
}

// name gives a namespace its name, as `ip netns add` does: an empty file with the
// namespace mounted on it. The kernel resolves the descriptor, so that exactly this
// namespace is mounted.
func (m *Manager) name(ns *os.File, id string) error {
	if err := m.prepareDir(); err != nil {
		return fmt.Errorf("prepare %s: %w", m.dir, err)
	}
	path := m.path(id)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY|unix.O_NOFOLLOW, 0o444)
	if err != nil {
		return fmt.Errorf("name a network namespace: %w", err)
	}
	f.Close()
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", ns.Fd()), path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("name a network namespace %s: %w", path, err)
	}
	return nil
}

// prepareDir makes the directory of names a shared mount, as ip-netns(8) does if it is
// not one: if that happened later, banger's names would be below its mount, where
// Detach could not remove them.
func (m *Manager) prepareDir() error {
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		return err
	}
	share := func() error { return unix.Mount("", m.dir, "none", unix.MS_SHARED|unix.MS_REC, "") }
	err := share()
	if !errors.Is(err, unix.EINVAL) { // EINVAL: it is not a mount point
		return err
	}
	if err := unix.Mount(m.dir, m.dir, "none", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	return share()
}

func (m *Manager) path(id string) string { return filepath.Join(m.dir, vmid.Netns(id)) }

// AttachNone makes the namespace of a VM without a network: it has only a loopback
// interface.
func (m *Manager) AttachNone(ctx context.Context, id string) error {
	if !vmid.Valid(id) {
		return api.Errorf(api.KindInvalid, "cannot make a network namespace: %q is not a valid VM id", id)
	}
	if m.empty(id) {
		return nil
	}
	if err := m.Detach(ctx, id); err != nil {
		return err
	}
	ns, err := inNew(func() error {
		nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer nl.Close()
		return up(nl, "lo")
	})
	if err == nil {
		err = m.name(ns, id)
		ns.Close()
	}
	if err != nil {
		err = api.Errorf(kindOf(err), "cannot make the network namespace of VM %s: %w", id, err)
		return errors.Join(err, m.Detach(context.WithoutCancel(ctx), id))
	}
	return nil
}

// Detach removes a VM's network, complete or not. A VMM that still runs keeps its
// namespace, but not the link out of it.
func (m *Manager) Detach(_ context.Context, id string) error {
	if !vmid.Valid(id) {
		return api.Errorf(api.KindInvalid, "cannot remove a network: %q is not a valid VM id", id)
	}
	if err := errors.Join(m.unlink(vmid.Link(id)), m.unname(id)); err != nil {
		return api.Errorf(kindOf(err), "cannot remove the network of VM %s: %w", id, err)
	}
	return nil
}

// unlink removes the host's end of a link, and with it the other end (veth(4)).
func (m *Manager) unlink(name string) error {
	link, err := m.host.LinkByName(name)
	var absent netlink.LinkNotFoundError
	if errors.As(err, &absent) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find the link %s: %w", name, err)
	}
	if err := m.host.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove the link %s: %w", name, err)
	}
	return nil
}

func (m *Manager) unname(id string) error {
	path := m.path(id)
	// An incomplete one is a file with nothing mounted on it (EINVAL, umount(2)).
	err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	for err == nil { // more than one can be mounted there
		err = unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	}
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	if err := unix.Unlink(path); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	return nil
}
