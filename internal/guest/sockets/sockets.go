// Package sockets reads what listens on this machine, and which process does,
// from /proc.
package sockets

import (
	"bufio"
	"cmp"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Table is a process table: /proc, or a directory that looks like it.
type Table struct{ Root string }

// Host is this machine's.
var Host = Table{"/proc"}

// Socket is one that listens, or a datagram socket that is connected to nobody.
type Socket struct {
	Protocol string // tcp or udp
	Address  netip.AddrPort
	UID      int    // of whoever made it
	PID      int    // of the first process that has it open; 0 where none can be seen
	Process  string // its name
	inode    string
}

const (
	// maxSockets bounds a list: a server listens on fewer.
	maxSockets = 10000
	// maxTable bounds what is read of one table, of some 150 bytes a socket.
	maxTable = 64 << 20
)

// The states that count, as net/tcp_states.h numbers them: proc_net_tcp.rst says that
// tables have them in hexadecimal. A datagram socket without a peer is "closed".
var states = map[string]string{"tcp": "0A", "udp": "07"}

// Listening returns the sockets that listen, by protocol, port and address. Without
// privileges only one's own processes can be named.
func (t Table) Listening() ([]Socket, error) {
	all, err := t.sockets("")
	if err != nil {
		return nil, err
	}
	t.name(all)
	slices.SortFunc(all, func(a, b Socket) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Address.Port(), b.Address.Port()),
			a.Address.Addr().Compare(b.Address.Addr()))
	})
	return all, nil
}

// Holder returns the socket that keeps others from listening on address, if there
// is one.
func (t Table) Holder(protocol string, address netip.AddrPort) (Socket, bool) {
	all, err := t.sockets(protocol)
	if err != nil {
		return Socket{}, false
	}
	all = slices.DeleteFunc(all, func(s Socket) bool { return !overlap(s.Address, address) })
	if len(all) == 0 {
		return Socket{}, false
	}
	t.name(all[:1])
	return all[0], true
}

// overlap: an unspecified address stands for all, and that of IPv6 for IPv4's too
// (ipv6(7), IPV6_V6ONLY).
func overlap(a, b netip.AddrPort) bool {
	if a.Port() != b.Port() {
		return false
	}
	x, y := a.Addr().Unmap(), b.Addr().Unmap()
	if x == y || x == netip.IPv6Unspecified() || y == netip.IPv6Unspecified() {
		return true
	}
	return x.Is4() == y.Is4() && (x.IsUnspecified() || y.IsUnspecified())
}

// sockets reads the tables of one protocol, or of both.
func (t Table) sockets(protocol string) ([]Socket, error) {
	var all []Socket
	for _, name := range []string{"tcp", "tcp6", "udp", "udp6"} {
		kind := strings.TrimSuffix(name, "6")
		if protocol != "" && kind != protocol {
			continue
		}
		// "self" and not "thread-self": the network namespace is the process's.
		f, err := os.Open(filepath.Join(t.Root, "self/net", name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, err
		}
		found, err := parse(f, kind)
		f.Close()
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all[:min(len(all), maxSockets)], nil
}

// parse reads a table (proc_net_tcp.rst). Lines that look otherwise are passed over.
func parse(r io.Reader, protocol string) ([]Socket, error) {
	var all []Socket
	lines := bufio.NewScanner(io.LimitReader(r, maxTable))
	for lines.Scan() && len(all) < maxSockets {
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 || fields[3] != states[protocol] {
			continue
		}
		address, ok := parseAddress(fields[1])
		uid, err := strconv.Atoi(fields[7])
		if !ok || err != nil {
			continue
		}
		all = append(all, Socket{Protocol: protocol, Address: address, UID: uid, inode: fields[9]})
	}
	return all, lines.Err()
}

// parseAddress reads ADDRESS:PORT in hexadecimal. The address is in words of four
// bytes, each in the order of this machine; all that run banger are little-endian.
func parseAddress(text string) (netip.AddrPort, bool) {
	address, port, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(address)
	number, portErr := strconv.ParseUint(port, 16, 16)
	if err != nil || portErr != nil || len(raw) != 4 && len(raw) != 16 {
		return netip.AddrPort{}, false
	}
	for word := range slices.Chunk(raw, 4) {
		slices.Reverse(word)
	}
	a, _ := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(a.Unmap(), uint16(number)), true
}
