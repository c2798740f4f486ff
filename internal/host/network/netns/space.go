//go:build linux

package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/guest/guestnet"
	"banger/internal/host/network"
)

// space is a namespace that is prepared for any guest: it lacks a name, the tap's owner
// and the link to the host.
type space struct {
	ns  *os.File
	tap *os.File        // attached to the tap, so that its owner can be set from outside
	nl  *netlink.Handle // netlink connection in the namespace
}

func (s *space) close() {
	if s.nl != nil {
		s.nl.Close()
	}
	if s.tap != nil {
		s.tap.Close()
	}
	if s.ns != nil {
		s.ns.Close()
	}
}

func newSpace(ctx context.Context, rules string) (*space, error) {
	s := &space{}
	ns, err := inNew(func() error { return s.fill(ctx, rules) })
	if err != nil {
		s.close()
		return nil, api.Errorf(kindOf(err), "cannot prepare a network namespace: %w", err)
	}
	s.ns = ns
	return s, nil
}

// fill makes what every guest's namespace contains. The calling thread is in the
// namespace.
func (s *space) fill(ctx context.Context, rules string) (err error) {
	if s.nl, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return err
	}
	if err := setSysctls(spaceSysctls); err != nil {
		return err
	}
	if err := up(s.nl, "lo"); err != nil {
		return err
	}
	if s.tap, err = newTap(); err != nil {
		return err
	}
	if err := s.addressTap(); err != nil {
		return err
	}
	return loadRules(ctx, rules)
}

func (s *space) addressTap() error {
	tap, err := s.nl.LinkByName(network.Tap)
	if err != nil {
		return err
	}
	if err := s.nl.LinkSetHardwareAddr(tap, mac(network.GatewayMAC)); err != nil {
		return fmt.Errorf("set the hardware address of %s: %w", network.Tap, err)
	}
	for _, p := range []netip.Prefix{
		netip.PrefixFrom(guestnet.Gateway, guestnet.Address.Bits()),
		netip.PrefixFrom(guestnet.DNS, guestnet.DNS.BitLen()), // so that it answers ARP
	} {
		if err := s.nl.AddrAdd(tap, &netlink.Addr{IPNet: ipNet(p)}); err != nil {
			return fmt.Errorf("give %s to %s: %w", p, network.Tap, err)
		}
	}
	if err := s.nl.LinkSetUp(tap); err != nil {
		return fmt.Errorf("set %s up: %w", network.Tap, err)
	}
	// The guest's address need not be resolved, and nobody else can answer for it.
	return addNeighbour(s.nl, tap, guestnet.Address.Addr(), guestnet.MAC)
}

// newTap makes the tap with the options that Firecracker and QEMU use to open it: one
// queue, no packet information, with virtio's header (Firecracker's Tap::open_named;
// the ioctls are those of Documentation/networking/tuntap.rst).
func newTap() (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil, api.Errorf(api.KindUnsupported, "cannot open /dev/net/tun: %w", err).WithHint("sudo modprobe tun")
	} else if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	tap := os.NewFile(uintptr(fd), network.Tap)
	req, err := unix.NewIfreq(network.Tap)
	if err == nil {
		req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err == nil {
		err = unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1)
	}
	if err != nil {
		tap.Close()
		return nil, fmt.Errorf("make %s: %w", network.Tap, err)
	}
	return tap, nil
}

// own sets the tap's owner to a VM's uid and gid and closes it: a tap with one queue
// can be open only once.
func (s *space) own(uid int) error {
	fd := int(s.tap.Fd())
	for _, set := range []uint{unix.TUNSETOWNER, unix.TUNSETGROUP} {
		if err := unix.IoctlSetInt(fd, set, uid); err != nil {
			return fmt.Errorf("give %s to uid %d: %w", network.Tap, uid, err)
		}
	}
	err := s.tap.Close()
	s.tap = nil
	return err
}

func up(nl *netlink.Handle, name string) error {
	link, err := nl.LinkByName(name)
	if err == nil {
		err = nl.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func fromIPNet(n *net.IPNet) netip.Prefix {
	a, _ := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), bits)
}

// mac parses a hardware address that package network made.
func mac(text string) net.HardwareAddr {
	a, err := net.ParseMAC(text)
	if err != nil {
		panic(err)
	}
	return a
}

// kindOf is api.KindOf, except for a kernel that lacks a feature.
func kindOf(err error) api.Kind {
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return api.KindUnsupported
	}
	if errors.Is(err, os.ErrPermission) {
		return api.KindDenied
	}
	return api.KindOf(err)
}
