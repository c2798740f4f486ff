//go:build linux

package netns

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"banger/api"
)

// findings returns what is not well, by the check's name.
func findings(t *testing.T) map[string]api.Check {
	t.Helper()
	bad := map[string]api.Check{}
	for _, c := range Check(context.Background(), hostTable()) {
		if c.Name == "" || c.Why == "" || c.Found == "" {
			t.Errorf("%+v says too little", c)
		}
		if c.Status != statusOK {
			bad[c.Name] = c
		}
	}
	return bad
}

// finds checks that one thing is not well, and what is said of it.
func finds(t *testing.T, name, found, fix string) {
	t.Helper()
	bad := findings(t)
	if c := bad[name]; !strings.Contains(c.Found, found) || !strings.Contains(c.Fix, fix) || len(bad) != 1 {
		t.Errorf("found %+v; want %s: %s, and to type %s", bad, name, found, fix)
	}
}

func TestCheck(t *testing.T) {
	m, _ := newWorld(t)
	attach(t, m, plan(t, 3))
	if bad := findings(t); len(bad) != 0 {
		t.Fatalf("on a good host: %+v", bad)
	}

	nft(t, "insert rule inet banger forward accept")
	finds(t, "firewall table", "not as banger made it", restart)
	nft(t, "flush ruleset")
	finds(t, "firewall table", "missing", restart)
	if err := EnsureTable(context.Background(), hostTable()); err != nil {
		t.Fatal(err)
	}

	if err := SetForwarding(false); err != nil {
		t.Fatal(err)
	}
	finds(t, "forwarding", "is 0", "sysctl")
	must(EnsureForwarding())

	nft(t, "add table ip filter; add chain ip filter DOCKER-USER\nadd chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }")
	finds(t, "other firewalls", "chain ip filter FORWARD", "iptables -I DOCKER-USER -i bv+")
	nft(t, "delete table ip filter")

	nl := must(netlink.NewHandle(unix.NETLINK_ROUTE))
	defer nl.Close()
	taken := &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("10.213.9.1/24"))}
	if _, err := address(nl, "eth0", taken); err != nil {
		t.Fatal(err)
	}
	finds(t, "guests' addresses", "eth0 has 10.213.9.", "install.toml")
	eth0 := must(nl.LinkByName("eth0"))
	if err := nl.AddrDel(eth0, taken); err != nil {
		t.Fatal(err)
	}
	if bad := findings(t); len(bad) != 0 {
		t.Errorf("in the end: %+v", bad)
	}
}
