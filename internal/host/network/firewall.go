package network

import (
	"fmt"
	"net/netip"
	"strings"

	"banger/internal/vmid"
)

// Obstacle is another program's chain that drops packets from or to guests: in
// nftables, a packet that one chain accepts can still be dropped by the next.
type Obstacle struct {
	Chain string // family, table and chain, as nft(8) writes them
	Fix   string // what to type
}

// Obstacles returns the chains that drop guests' traffic through an interface of the
// host, which may be empty if unknown.
func (r *Ruleset) Obstacles(outer netip.Prefix, uplink string) []Obstacle {
	guest, internet := nth(outer, 1), netip.MustParseAddr("198.51.100.1") // RFC 5737: for documentation
	link := vmid.Link("000000000000")
	there := packet{in: link, out: uplink, state: "new", source: guest, dest: internet}
	back := packet{in: uplink, out: link, state: "established", source: internet, dest: guest}
	var found []Obstacle
	for _, c := range r.chains {
		if c.Hook != "forward" || c.Family != "ip" && c.Family != "inet" || c.Family == "inet" && c.Table == TableName {
			continue
		}
		if r.drops(c, there) || r.drops(c, back) {
			found = append(found, Obstacle{Chain: c.Family + " " + c.Table + " " + c.Name, Fix: r.fix(c, outer)})
		}
	}
	return found
}

// fix returns the command that makes the program that owns a chain accept guests'
// traffic.
func (r *Ruleset) fix(c *chain, outer netip.Prefix) string {
	ipt := strings.TrimSuffix(vmid.LinkPattern, "*") + "+" // iptables(8)'s wildcard
	iptables := func(chain string) string {
		return fmt.Sprintf("sudo iptables -I %s -i %s -j ACCEPT && sudo iptables -I %s -o %s -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
			chain, ipt, chain, ipt)
	}
	has := func(name string) bool { return r.chain(c.Family, c.Table, name) != nil }
	switch {
	case c.Table == "firewalld":
		return fmt.Sprintf("sudo firewall-cmd --permanent --zone=trusted --add-source=%s && sudo firewall-cmd --reload", outer)
	case has("ufw-user-forward"): // ufw accepts replies by default
		return fmt.Sprintf("sudo ufw route allow in on %s", ipt)
	case has("DOCKER-USER"): // intended for this: Docker never changes it
		return iptables("DOCKER-USER")
	case c.Family == "ip" && c.Table == "filter" && c.Name == "FORWARD":
		return iptables("FORWARD")
	}
	return fmt.Sprintf(`sudo nft 'insert rule %s %s %s iifname "%s" accept; insert rule %s %s %s oifname "%s" ct state established,related accept'`,
		c.Family, c.Table, c.Name, vmid.LinkPattern, c.Family, c.Table, c.Name, vmid.LinkPattern)
}

// Neighbour is an object of the host with an address: a route or a link.
type Neighbour struct {
	Link   string
	Prefix netip.Prefix
}

// Collisions returns the neighbours that use addresses of VMs, except banger's own
// links. A default route does not collide.
func Collisions(outer netip.Prefix, all []Neighbour) []Neighbour {
	var found []Neighbour
	for _, n := range all {
		if _, ours := vmid.FromLink(n.Link); !ours && n.Prefix.Bits() > 0 && n.Prefix.Overlaps(outer) {
			found = append(found, n)
		}
	}
	return found
}
