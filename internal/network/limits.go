package network

// What one guest, or a VMM that it took over, may take of tables that the kernel has
// once for the whole host. Doctor and documentation name the same numbers.
const (
	// MaxConnections is how many entries of connection tracking a VM may have, of TCP,
	// UDP and ICMP together: in its namespace, where a guest meets the limit first, and
	// on the host. A sixteenth of 65536, which is net.netfilter.nf_conntrack_max on a
	// host of 1 to 4 GiB (nf_conntrack-sysctl.rst); what is over it is refused.
	MaxConnections = 4096

	// MaxNextHops is how many addresses on the host's own links all guests together
	// can make it look for by ARP within NextHopSeconds: half of gc_thresh3, at which
	// the kernel makes no more neighbour entries for anybody (1024, arp(7)). A gateway
	// is one such address, whatever lies behind it.
	MaxNextHops = 512

	// NextHopSeconds is how long an address counts. The kernel itself gives one up
	// after three seconds (mcast_solicit times retrans_time_ms, arp(7)).
	NextHopSeconds = 10

	// NextHopBurst is how many new ones a guest may use at once, and NextHopRate how
	// many more each second.
	NextHopBurst = 32
	NextHopRate  = 4
)

// guestsRoom is the size of sets with an element for each VM: more than there can be.
const guestsRoom = 1 << 16

// NextHopsOf returns how many neighbour entries a number of guests can cause.
func NextHopsOf(guests int) int {
	return min(MaxNextHops, guests*(NextHopBurst+NextHopRate*NextHopSeconds))
}
