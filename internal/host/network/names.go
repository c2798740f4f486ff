package network

import "net/netip"

// The names of VMs on the host: NAME.vm and NAME.banger. The root helper makes a link with an
// address, on which the owner's daemon answers, and tells systemd-resolved.
const (
	// NamesLink is the link that has NamesAddress. systemd-resolved sends a domain's
	// questions by link, and not by the loopback link.
	NamesLink = "banger-dns0"
	// NamesPeer is the other end of that link on a kernel without dummy links.
	NamesPeer = "banger-dns1"
	// NamesPort is the only one that resolv.conf(5) can mean.
	NamesPort = 53
)

// NamesAddress is where the daemon answers: a link-local address (RFC 3927), which no network
// routes, and which guests do not reach (Metadata). It is none of those that clouds and
// Kubernetes use (169.254.169.254, 169.254.20.10).
var NamesAddress = netip.MustParseAddr("169.254.213.53")

// Zones returns the domains of VMs' names.
func Zones() []string { return []string{"vm", "banger"} }
