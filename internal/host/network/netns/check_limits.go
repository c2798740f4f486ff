//go:build linux

package netns

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"

	"banger/api"
	"banger/internal/host/network"
	"banger/internal/vmid"
)

// The host's own shares of the tables in which guests have limits.
const (
	ownConnections = 16384
	ownNeighbours  = 512
)

// checkLimits compares the maximal use by the guests of this host with the kernel's
// limits.
func checkLimits() []api.Check {
	connections := api.Check{
		Name: "connection tracking", Status: statusOK,
		Why: fmt.Sprintf("when the table is full, this host drops all new connections; each VM with a network may take %d entries", network.MaxConnections),
	}
	neighbours := api.Check{
		Name: "neighbour table", Status: statusOK,
		Why: "when the table is full, this host cannot reach new addresses on its own networks; guests may use some of it",
	}
	guests, err := countGuests()
	if err != nil {
		connections.Status, connections.Found = statusWarn, err.Error()
		neighbours.Status, neighbours.Found = statusWarn, err.Error()
		return []api.Check{connections, neighbours}
	}
	enough(&connections, "netfilter/nf_conntrack_max", guests, ownConnections+guests*network.MaxConnections)
	enough(&neighbours, "ipv4/neigh/default/gc_thresh3", guests, ownNeighbours+network.NextHopsOf(guests))
	return []api.Check{connections, neighbours}
}

// countGuests returns how many VMs have a link to this host.
func countGuests() (n int, err error) {
	links, err := netlink.LinkList()
	if err != nil {
		return 0, api.Errorf(api.KindInternal, "cannot list links: %w", err)
	}
	for _, l := range links {
		if _, ours := vmid.FromLink(l.Attrs().Name); ours {
			n++
		}
	}
	return n, nil
}

// enough compares a limit of the kernel with the needs of a number of guests and the
// host together.
func enough(c *api.Check, file string, guests, need int) {
	name := "net." + strings.ReplaceAll(file, "/", ".")
	limit, err := number(file)
	switch {
	case errors.Is(err, os.ErrNotExist): // the module is not loaded, or this is not the first namespace
		c.Found = name + " does not exist"
	case err != nil:
		c.Status, c.Found = statusWarn, fmt.Sprintf("%s cannot be read: %v", name, err)
	default:
		judge(c, name, limit, guests, need)
	}
}

func judge(c *api.Check, name string, limit, guests, need int) {
	if limit < need {
		c.Status = statusWarn
		c.Found = fmt.Sprintf("%s is %d, and with guests: %d, it should be at least %d", name, limit, guests, need)
		c.Fix = fmt.Sprintf("echo '%s = %d' | sudo tee /etc/sysctl.d/60-%s.conf && sudo sysctl --system", name, roomFor(need), lastPart(name))
	} else {
		c.Found = fmt.Sprintf("%s is %d, enough for %d with guests: %d", name, limit, need, guests)
	}
}

func lastPart(name string) string { return name[strings.LastIndex(name, ".")+1:] }

// roomFor returns the next power of two, so that the next VM does not require a change
// again.
func roomFor(need int) int {
	room := 1024
	for room < need {
		room *= 2
	}
	return room
}

// number reads a sysctl.
func number(file string) (int, error) {
	text, err := os.ReadFile(sysctls + "/" + file)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}
