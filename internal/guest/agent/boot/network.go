package bootup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"banger/internal/guest/agentproto"
)

// interfaceName is the kernel's name of the first interface. The interface keeps it: there is no
// udev, or udev is configured not to rename it.
const interfaceName = "eth0"

// setupNetwork brings up the loopback, and the first interface with its
// address and default route. It uses rtnetlink(7) directly: three messages take less of every
// guest's memory than a library.
func setupNetwork(boot agentproto.Boot) error {
	rt, err := openRoute()
	if err != nil {
		return fmt.Errorf("configure the network: %w", err)
	}
	defer rt.close()
	if err := rt.up(1); err != nil { // the loopback's index is always 1 (LOOPBACK_IFINDEX)
		return fmt.Errorf("bring up the loopback: %w", err)
	}
	if !boot.Address.IsValid() {
		return nil
	}
	const name = interfaceName
	link, err := net.InterfaceByName(name)
	if err != nil {
		return fmt.Errorf("find network interface %s: %w", name, err)
	}
	if err := rt.addAddress(link.Index, boot.Address); err != nil {
		return fmt.Errorf("give %s the address %s: %w", name, boot.Address, err)
	}
	if err := rt.up(link.Index); err != nil {
		return fmt.Errorf("bring up %s: %w", name, err)
	}
	if boot.Gateway.IsValid() {
		if err := rt.addDefault(link.Index, boot.Gateway); err != nil {
			return fmt.Errorf("route through %s: %w", boot.Gateway, err)
		}
	}
	return nil
}

// route is a rtnetlink socket.
type route struct {
	fd  int
	seq uint32
}

func openRoute() (*route, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	return &route{fd: fd}, nil
}

func (r *route) close() { unix.Close(r.fd) }

// up sets an interface's IFF_UP (struct ifinfomsg).
func (r *route) up(index int) error {
	body := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(body[4:], uint32(index))
	binary.NativeEndian.PutUint32(body[8:], unix.IFF_UP)
	binary.NativeEndian.PutUint32(body[12:], unix.IFF_UP) // what changes
	return r.do(unix.RTM_NEWLINK, 0, body)
}

// addAddress gives an interface an address (struct ifaddrmsg).
func (r *route) addAddress(index int, prefix netip.Prefix) error {
	address := prefix.Addr().Unmap()
	body := []byte{family(address), byte(prefix.Bits()), 0, unix.RT_SCOPE_UNIVERSE, 0, 0, 0, 0}
	binary.NativeEndian.PutUint32(body[4:], uint32(index))
	body = append(body, attribute(unix.IFA_LOCAL, address.AsSlice())...)
	body = append(body, attribute(unix.IFA_ADDRESS, address.AsSlice())...)
	return r.do(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, body)
}

// addDefault adds the default route through a gateway (struct rtmsg).
func (r *route) addDefault(index int, gateway netip.Addr) error {
	gateway = gateway.Unmap()
	body := []byte{
		family(gateway), 0, 0, 0, unix.RT_TABLE_MAIN, unix.RTPROT_BOOT, unix.RT_SCOPE_UNIVERSE, unix.RTN_UNICAST,
		0, 0, 0, 0,
	}
	body = append(body, attribute(unix.RTA_GATEWAY, gateway.AsSlice())...)
	body = append(body, attribute(unix.RTA_OIF, binary.NativeEndian.AppendUint32(nil, uint32(index)))...)
	return r.do(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, body)
}

func family(a netip.Addr) byte {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// attribute encodes a struct rtattr: length, type and value, padded to 4 bytes.
func attribute(kind uint16, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofRtAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	return append(b, make([]byte, (4-len(b)%4)%4)...)
}

// do sends one request and waits for the kernel's answer, which is an error
// number, 0 for success (netlink(7), NLMSG_ERROR).
func (r *route) do(kind, flags uint16, body []byte) error {
	r.seq++
	msg := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+len(body)))
	msg = binary.NativeEndian.AppendUint16(msg, kind)
	msg = binary.NativeEndian.AppendUint16(msg, flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	msg = binary.NativeEndian.AppendUint32(msg, r.seq)
	msg = binary.NativeEndian.AppendUint32(msg, 0)
	msg = append(msg, body...)
	if err := unix.Sendto(r.fd, msg, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buf := make([]byte, 4<<10)
	n, _, err := unix.Recvfrom(r.fd, buf, 0)
	if err != nil {
		return err
	}
	return parseAck(buf[:n])
}

var errNoAck = errors.New("the kernel's answer is not an acknowledgement")

func parseAck(b []byte) error {
	if len(b) < unix.NLMSG_HDRLEN+4 || binary.NativeEndian.Uint16(b[4:]) != unix.NLMSG_ERROR {
		return errNoAck
	}
	if code := int32(binary.NativeEndian.Uint32(b[unix.NLMSG_HDRLEN:])); code != 0 {
		return unix.Errno(-code)
	}
	return nil
}
