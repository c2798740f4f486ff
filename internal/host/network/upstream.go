package network

import (
	"net/netip"
	"strings"
)

// The files that name resolvers: resolv.conf(5), and the upstream resolvers of
// systemd-resolved if resolv.conf names its stub (systemd-resolved.service(8)).
const (
	resolvConf   = "/etc/resolv.conf"
	resolvedConf = "/run/systemd/resolve/resolv.conf"
)

// ResolverFiles are the files that name the host's resolver.
func ResolverFiles() []string { return []string{resolvConf, resolvedConf} }

// Upstream returns the resolver for guests' DNS requests: the first IPv4 resolver that
// the host itself uses. A resolver on the host's loopback cannot be reached by guests;
// then it is the upstream of systemd-resolved, or none (invalid). read is os.ReadFile,
// except in tests.
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

// nameserver returns the first IPv4 name server in a file that is not a loopback
// address, nor banger's own, which an administrator can have put first (docs/access.md).
func nameserver(text string) netip.Addr {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		a, err := netip.ParseAddr(words[1])
		if err != nil || !a.Is4() || a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() || a == NamesAddress {
			continue
		}
		return a
	}
	return netip.Addr{}
}
