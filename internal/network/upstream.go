package network

import (
	"net/netip"
	"strings"
)

// Where resolvers are named: resolv.conf(5), and what systemd-resolved asks when
// resolv.conf names its own stub (systemd-resolved.service(8)).
const (
	resolvConf   = "/etc/resolv.conf"
	resolvedConf = "/run/systemd/resolve/resolv.conf"
)

// ResolverFiles are the files that name the host's resolver.
func ResolverFiles() []string { return []string{resolvConf, resolvedConf} }

// Upstream returns the resolver that guests' questions go to: the first IPv4
// one that the host itself uses. A resolver on the host's loopback cannot be
// reached from elsewhere, so then it is the one that systemd-resolved asks, or
// none (invalid). read is os.ReadFile, or a test's.
func Upstream(read func(path string) ([]byte, error)) netip.Addr {
	for _, path := range ResolverFiles() {
		text, err := read(path)
		if err != nil {
			continue
		}
		if a := nameserver(string(text)); a.IsValid() {
			return a
		}
	}
	return netip.Addr{}
}

// nameserver returns the first IPv4 name server in a file that is not on loopback.
func nameserver(text string) netip.Addr {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		a, err := netip.ParseAddr(words[1])
		if err != nil || !a.Is4() || a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() {
			continue
		}
		return a
	}
	return netip.Addr{}
}
