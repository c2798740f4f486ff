//go:build linux

package netns

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/network"
	"banger/internal/paths"
)

// The statuses of an api.Check.
const (
	statusOK   = "ok"
	statusWarn = "warn"
	statusFail = "fail"
)

const restart = "sudo systemctl restart bangerd-root"

// Check says whether the host lets guests do what they may, and nothing else.
// It changes nothing. It runs nft(8), so it is not on the path of creating a VM.
func Check(ctx context.Context, t network.HostTable) []api.Check {
	rules, err := hostRules(ctx)
	all := []api.Check{checkForwarding(), checkAddresses(t.Outer)}
	if err != nil {
		return append(all, api.Check{
			Name: "firewall table", Status: statusFail, Found: err.Error(),
			Why: whyTable, Fix: api.AsError(err).Hint,
		})
	}
	return append(all, checkTable(ctx, rules, t), checkOthers(rules, t.Outer), checkLegacy())
}

const whyTable = "it keeps guests from each other, from the host and from clouds' metadata, and translates their addresses"

// listing of the calling thread's namespace.
func hostRules(ctx context.Context) (*network.Ruleset, error) {
	text, err := listRules(ctx, "ruleset")
	if err != nil {
		return nil, err
	}
	return network.ParseRuleset(text)
}

// checkTable compares the host's table with what nft makes of our text in a
// namespace of its own: so no change goes unseen, whatever nft's version.
func checkTable(ctx context.Context, rules *network.Ruleset, t network.HostTable) api.Check {
	c := api.Check{Name: "firewall table", Status: statusOK, Found: "loaded and unchanged", Why: whyTable}
	fresh, err := freshTable(ctx, t)
	switch {
	case err != nil:
		c.Status, c.Found = statusWarn, "cannot be compared: "+err.Error()
	case !rules.HasTable():
		c.Status, c.Found = statusFail, "table inet "+network.TableName+" is missing"
	case !rules.SameTable(fresh):
		c.Status, c.Found = statusFail, "table inet "+network.TableName+" is not as banger made it"
	}
	if c.Status != statusOK {
		c.Fix = restart
	}
	return c
}

func freshTable(ctx context.Context, t network.HostTable) (rules *network.Ruleset, err error) {
	ns, err := inNew(func() error {
		if err := EnsureTable(ctx, t); err != nil {
			return err
		}
		rules, err = hostRules(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return rules, ns.Close()
}

func checkForwarding() api.Check {
	c := api.Check{Name: "forwarding", Status: statusOK, Found: "net.ipv4.ip_forward is 1", Why: "without it guests reach nothing outside"}
	if on, err := Forwarding(); err != nil {
		c.Status, c.Found = statusFail, err.Error()
	} else if !on {
		c.Status, c.Found, c.Fix = statusFail, "net.ipv4.ip_forward is 0", "sudo sysctl net.ipv4.ip_forward=1"
	}
	return c
}

func checkOthers(rules *network.Ruleset, outer netip.Prefix) api.Check {
	c := api.Check{Name: "other firewalls", Status: statusOK, Found: "none stops guests", Why: "another program's chain can drop what ours accepts"}
	var found, fixes []string
	for _, o := range rules.Obstacles(outer, defaultLink()) {
		found, fixes = append(found, o.Chain), append(fixes, o.Fix)
	}
	if found != nil {
		c.Status, c.Found = statusFail, "guests' traffic is dropped by chain "+strings.Join(found, " and chain ")
		c.Fix = strings.Join(fixes, "; ")
	}
	return c
}

// defaultLink returns the interface of the default route, or nothing.
func defaultLink() string {
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return ""
	}
	for _, r := range routes {
		if r.Dst == nil || r.Dst.IP.IsUnspecified() {
			if l, err := netlink.LinkByIndex(r.LinkIndex); err == nil {
				return l.Attrs().Name
			}
		}
	}
	return ""
}

// checkLegacy looks for tables that nft does not list: those of the older
// iptables, which the kernel names here.
func checkLegacy() api.Check {
	c := api.Check{Name: "legacy iptables", Status: statusOK, Found: "not in use", Why: "its rules count too, and cannot be looked into"}
	names, err := os.ReadFile("/proc/net/ip_tables_names")
	if err == nil && bytes.Contains(names, []byte("filter")) {
		c.Status, c.Found = statusWarn, "it has a filter table"
		c.Fix = "sudo iptables-legacy -S FORWARD"
	}
	return c
}

func checkAddresses(outer netip.Prefix) api.Check {
	c := api.Check{Name: "guests' addresses", Status: statusOK, Found: outer.String() + " is free", Why: "the host must have no other use for them"}
	all, err := neighbours()
	if err != nil {
		c.Status, c.Found = statusWarn, err.Error()
		return c
	}
	if hit := network.Collisions(outer, all); hit != nil {
		c.Status = statusFail
		c.Found = fmt.Sprintf("%s is taken: %s has %s", outer, hit[0].Link, hit[0].Prefix)
		c.Fix = "with all VMs stopped, set another network in " + paths.InstallRecord + ", then: sudo banger system restart"
	}
	return c
}

// neighbours returns the host's routes and addresses.
func neighbours() ([]network.Neighbour, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, api.Errorf(api.KindInternal, "cannot list links: %w", err)
	}
	var all []network.Neighbour
	for _, l := range links {
		addrs, err := netlink.AddrList(l, netlink.FAMILY_V4)
		if err != nil {
			return nil, api.Errorf(api.KindInternal, "cannot list addresses: %w", err)
		}
		for _, a := range addrs {
			all = append(all, network.Neighbour{Link: l.Attrs().Name, Prefix: fromIPNet(a.IPNet)})
		}
		routes, err := netlink.RouteList(l, netlink.FAMILY_V4)
		if err != nil {
			return nil, api.Errorf(api.KindInternal, "cannot list routes: %w", err)
		}
		for _, r := range routes {
			if r.Dst != nil {
				all = append(all, network.Neighbour{Link: l.Attrs().Name, Prefix: fromIPNet(r.Dst)})
			}
		}
	}
	return all, nil
}
