//go:build linux

package netns

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/host/network"
	"banger/internal/paths"
)

// The statuses of an api.Check.
const (
	statusOK   = "ok"
	statusWarn = "warn"
	statusFail = "fail"
)

const restart = "sudo systemctl restart bangerd-root"

// Check reports whether the host forwards guests' traffic as intended, and nothing
// else. It changes nothing. It runs nft(8), so it is not used while a VM is created.
//
// problem is the error of Keeper.Table.
func Check(ctx context.Context, t network.HostTable, problem error) []api.Check {
	all := []api.Check{checkForwarding(), checkAddresses(t.Outer), checkTable(ctx, t, problem)}
	all = append(all, checkLimits()...)
	rules, err := hostRules(ctx)
	if err != nil {
		return append(all, api.Check{
			Name: "other firewalls", Status: statusWarn, Found: err.Error(),
			Why: whyOthers, Fix: api.AsError(err).Hint,
		})
	}
	return append(all, checkOthers(rules, t.Outer), checkLegacy())
}

const whyTable = "it separates guests from each other, from the host and from clouds' metadata, and translates their addresses"

// checkTable compares the host's table with the generated one. problem is why the
// Keeper could not load it, if it could not.
func checkTable(ctx context.Context, t network.HostTable, problem error) api.Check {
	c := api.Check{Name: "firewall table", Status: statusOK, Found: "loaded and unchanged", Why: whyTable}
	if problem != nil {
		c.Status, c.Found = statusFail, "it cannot be loaded, and is retried until it can: "+problem.Error()
		c.Fix = cmp.Or(api.AsError(problem).Hint, "sudo journalctl -u bangerd-root -e")
		return c
	}
	fresh, err := freshTable(ctx, t)
	if err != nil {
		c.Status, c.Found, c.Fix = statusWarn, "cannot be compared: "+err.Error(), restart
		return c
	}
	switch now, err := listTable(ctx); {
	case err != nil:
		c.Status, c.Found, c.Fix = statusFail, "table inet "+network.TableName+" is missing: "+err.Error(), restart
	case now != fresh:
		c.Status, c.Found, c.Fix = statusFail, "table inet "+network.TableName+" was changed by another program", restart
	}
	return c
}

func checkForwarding() api.Check {
	c := api.Check{Name: "forwarding", Status: statusOK, Found: "net.ipv4.ip_forward is 1", Why: "without it guests cannot reach the internet"}
	if on, err := Forwarding(); err != nil {
		c.Status, c.Found = statusFail, err.Error()
	} else if !on {
		c.Status, c.Found, c.Fix = statusFail, "net.ipv4.ip_forward is 0", "sudo sysctl net.ipv4.ip_forward=1"
	}
	return c
}

const whyOthers = "another program's chain can drop packets that banger's accepts"

func checkOthers(rules *network.Ruleset, outer netip.Prefix) api.Check {
	c := api.Check{Name: "other firewalls", Status: statusOK, Found: "none drops guests' traffic", Why: whyOthers}
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

// defaultLink returns the interface of the default route, or "".
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

// checkLegacy checks for tables that nft does not list: those of legacy iptables, which
// the kernel lists here.
func checkLegacy() api.Check {
	c := api.Check{Name: "legacy iptables", Status: statusOK, Found: "not in use", Why: "its rules apply too, but cannot be examined"}
	names, err := os.ReadFile("/proc/net/ip_tables_names")
	if err == nil && bytes.Contains(names, []byte("filter")) {
		c.Status, c.Found = statusWarn, "it has a filter table"
		c.Fix = "sudo iptables-legacy -S FORWARD"
	}
	return c
}

func checkAddresses(outer netip.Prefix) api.Check {
	c := api.Check{Name: "guests' addresses", Status: statusOK, Found: outer.String() + " is free", Why: "the host must not use them for anything else"}
	all, err := neighbours()
	if err != nil {
		c.Status, c.Found = statusWarn, err.Error()
		return c
	}
	if hit := network.Collisions(outer, all); hit != nil {
		c.Status = statusFail
		c.Found = fmt.Sprintf("%s is in use: %s has %s", outer, hit[0].Link, hit[0].Prefix)
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
