package identity

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"banger/internal/guest/agentproto"
)

// The messages of sock_diag(7): struct inet_diag_req_v2 is 8 bytes and a struct inet_diag_sockid of 48,
// and an answer begins with 4 bytes and the same.
const (
	idSize     = 48
	requestAt  = 8
	answerAt   = 4
	answerSize = answerAt + idSize
	// connected are the states of connections, as bits: all but LISTEN, CLOSE and TIME_WAIT
	// (include/net/tcp_states.h).
	connected = 1<<1 | 1<<2 | 1<<3 | 1<<4 | 1<<5 | 1<<8 | 1<<9 | 1<<11
	// maxShown is how many of them a step names.
	maxShown = 3
)

// connection is a TCP connection of the guest.
type connection struct {
	family byte
	id     [idSize]byte
	remote netip.AddrPort
	local  netip.Addr
}

// EndConnections resets the TCP connections of the past, except those within the guest: their other ends
// continue with another guest, or have given up, and a program would wait for them until its keepalive
// ends.
func EndConnections() agentproto.Step {
	const step = agentproto.StepConnections
	all, err := connections()
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EPROTONOSUPPORT) {
		return skipped(step, "the kernel cannot list them: module tcp_diag is missing")
	}
	if err != nil {
		return failed(step, err)
	}
	var names []string
	ended := 0
	for _, c := range all {
		if c.local.Unmap().IsLoopback() || c.remote.Addr().Unmap().IsLoopback() {
			continue
		}
		err := ask(unix.SOCK_DESTROY, unix.NLM_F_ACK, c.family, c.id, func([]byte) {})
		switch {
		case errors.Is(err, unix.ENOENT): // it has ended meanwhile
		case err != nil:
			return failed(step, fmt.Errorf("end the connection to %v: %w", c.remote, err))
		default:
			if ended++; len(names) < maxShown {
				names = append(names, c.remote.String())
			}
		}
	}
	if ended == 0 {
		return skipped(step, "none")
	}
	return agentproto.Step{Name: step, State: agentproto.StepDone, Detail: fmt.Sprintf("%d, to %s", ended, strings.Join(names, ", "))}
}

// connections lists the TCP connections.
func connections() ([]connection, error) {
	var all []connection
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		err := ask(unix.SOCK_DIAG_BY_FAMILY, unix.NLM_F_DUMP, family, [idSize]byte{}, func(answer []byte) {
			if c, ok := parseConnection(answer); ok {
				all = append(all, c)
			}
		})
		if err != nil && (family == unix.AF_INET || !errors.Is(err, unix.ENOENT)) { // a guest need not have IPv6
			return nil, err
		}
	}
	return all, nil
}

// parseConnection reads the beginning of a struct inet_diag_msg.
func parseConnection(b []byte) (c connection, ok bool) {
	if len(b) < answerSize {
		return c, false
	}
	c.family = b[0]
	copy(c.id[:], b[answerAt:])
	address := func(at int) netip.Addr {
		if c.family == unix.AF_INET6 {
			return netip.AddrFrom16([16]byte(c.id[at:]))
		}
		return netip.AddrFrom4([4]byte(c.id[at:]))
	}
	c.local = address(4)
	c.remote = netip.AddrPortFrom(address(20), binary.BigEndian.Uint16(c.id[2:]))
	return c, true
}

// ask sends a request about TCP sockets of a family, and calls each with what comes, until the end.
func ask(kind uint16, flags uint16, family byte, id [idSize]byte, each func([]byte)) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2}); err != nil {
		return err
	}
	msg := make([]byte, unix.NLMSG_HDRLEN+requestAt+idSize)
	binary.NativeEndian.PutUint32(msg, uint32(len(msg)))
	binary.NativeEndian.PutUint16(msg[4:], kind)
	binary.NativeEndian.PutUint16(msg[6:], unix.NLM_F_REQUEST|flags)
	body := msg[unix.NLMSG_HDRLEN:]
	body[0], body[1] = family, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(body[4:], connected)
	copy(body[requestAt:], id[:])
	if err := unix.Sendto(fd, msg, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		answers, err := syscall.ParseNetlinkMessage(buf[:n])
		if err != nil {
			return err
		}
		for _, a := range answers {
			switch a.Header.Type {
			case unix.NLMSG_DONE:
				return nil
			case unix.NLMSG_ERROR:
				if len(a.Data) < 4 {
					return unix.EPROTO
				}
				if errno := -int32(binary.NativeEndian.Uint32(a.Data)); errno != 0 {
					return unix.Errno(errno)
				}
				return nil
			default:
				each(a.Data)
			}
		}
	}
}
