package network

// The shares of one guest, or of a VMM that it took over, in tables that the kernel has
// once per host. The doctor and the documentation use the same numbers.
const (
	// MaxConnections is how many connection tracking entries a VM may have, for TCP,
	// UDP and ICMP together: in its namespace, where a guest reaches the limit first,
	// and on the host. It is a sixteenth of 65536, which is
	// net.netfilter.nf_conntrack_max on a host with 1 to 4 GiB of memory
	// (nf_conntrack-sysctl.rst); further connections are refused.
	MaxConnections = 4096

	// MaxNextHops is how many addresses on the host's own links all guests together can
	// make it resolve by ARP within NextHopSeconds: half of gc_thresh3, above which the
	// kernel creates no more neighbour entries (1024, arp(7)). A gateway is one such
	// address, whatever is behind it.
	MaxNextHops = 512

	// NextHopSeconds is how long an address counts. The kernel gives up after three
	// seconds (mcast_solicit times retrans_time_ms, arp(7)).
	NextHopSeconds = 10

	// NextHopBurst is how many new addresses a guest may use at once, and NextHopRate
	// how many more per second.
	NextHopBurst = 32
	NextHopRate  = 4
)

// guestsRoom is the size of sets with an element for each VM: more than the maximal
// number of VMs.
const guestsRoom = 1 << 16

// NextHopsOf returns how many neighbour entries the given number of guests can cause.
func NextHopsOf(guests int) int {
	return min(MaxNextHops, guests*(NextHopBurst+NextHopRate*NextHopSeconds))
}
