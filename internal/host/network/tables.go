package network

import (
	_ "embed" // the tables' text
	"net/netip"
	"strings"
	"text/template"

	"banger/internal/guest/guestnet"
	"banger/internal/vmid"
)

// TableName is the name of banger's nftables tables, on the host and in namespaces. No
// other table is changed.
const TableName = "banger"

// Metadata are the addresses of clouds' metadata services, which give secrets to a
// machine. Guests cannot reach them.
func Metadata() []netip.Prefix {
	return []netip.Prefix{
		// Link-local (RFC 3927): 169.254.169.254 on AWS, Google Cloud, Azure, OpenStack,
		// DigitalOcean and Oracle; 169.254.170.2 for AWS's containers.
		netip.MustParsePrefix("169.254.0.0/16"),
		netip.MustParsePrefix("100.100.100.200/32"), // Alibaba Cloud
		netip.MustParsePrefix("168.63.129.16/32"),   // Azure's WireServer
	}
}

// HostTable is the input of the host's table. Only this package generates the table's
// text, and it contains no text from elsewhere.
type HostTable struct {
	Outer    netip.Prefix
	Resolver netip.Addr // the resolver for guests' DNS requests; invalid: none
}

var (
	//go:embed host.nft.tmpl
	hostText string
	//go:embed guest.nft.tmpl
	guestText string

	hostTemplate  = template.Must(template.New("host").Parse(hostText))
	guestTemplate = template.Must(template.New("guest").Parse(guestText))
)

// Text returns the table for `nft -f -`. Loading it replaces an existing table in one
// transaction (nft(8)) and can be repeated.
func (t HostTable) Text() (string, error) {
	if _, err := Slots(t.Outer); err != nil {
		return "", err
	}
	return render(hostTemplate, map[string]any{
		"Table": TableName, "Links": vmid.LinkPattern, "Outer": t.Outer, "Metadata": join(Metadata()),
		"Question": ResolverAddress(t.Outer), "Resolver": t.Resolver, "HasResolver": t.Resolver.Is4(),
		"GuestsRoom": guestsRoom, "MaxConnections": MaxConnections, "MaxNextHops": MaxNextHops, "NextHopSeconds": NextHopSeconds,
		"NextHopRate": NextHopRate, "NextHopBurst": NextHopBurst,
	})
}

// GuestTables returns the tables of a namespace for `nft -f -`. They are the same for
// all VMs, and for all isolated ones (Spec.Isolated). They block the way to metadata and to other guests a second time, so that it
// stays blocked if all rules of the host are flushed, and every way to the VMM's own
// sockets.
func GuestTables(outer netip.Prefix, isolated bool) (string, error) {
	if _, err := Slots(outer); err != nil {
		return "", err
	}
	return render(guestTemplate, map[string]any{
		"Table": TableName, "Tap": Tap, "Uplink": Uplink, "MAC": guestnet.MAC, "Guest": guestnet.Address.Addr(),
		"Gateway": guestnet.Gateway, "DNS": guestnet.DNS, "Question": ResolverAddress(outer),
		"HostMask": hostMask(outer), "HostSide": outer.Addr(), "Closed": join(append(Metadata(), outer)),
		"MaxConnections": MaxConnections, "Isolated": isolated,
	})
}

// hostMask is the mask of the host ends of all links: the prefix, and the cleared last
// bit.
func hostMask(outer netip.Prefix) netip.Addr {
	v := ^uint32(0)<<(32-outer.Bits()) | 1
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
}

func join(prefixes []netip.Prefix) string {
	var all []string
	for _, p := range prefixes {
		if p.IsSingleIP() {
			all = append(all, p.Addr().String())
		} else {
			all = append(all, p.String())
		}
	}
	return strings.Join(all, ", ")
}

func render(t *template.Template, values map[string]any) (string, error) {
	var b strings.Builder
	if err := t.Option("missingkey=error").Execute(&b, values); err != nil {
		return "", err
	}
	return b.String(), nil
}
