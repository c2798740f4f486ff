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
	"banger/internal/host/network"
)

// findings returns what is not well, by the check's name.
func findings(t *testing.T) map[string]api.Check {
	t.Helper()
	bad := map[string]api.Check{}
	for _, c := range Check(context.Background(), hostTable(), nil) {
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

	runNft(t, "insert rule inet banger forward accept")
	finds(t, "firewall table", "was changed by another program", restart)
	runNft(t, "flush ruleset")
	finds(t, "firewall table", "missing", restart)
	if err := EnsureTable(context.Background(), hostTable()); err != nil {
		t.Fatal(err)
	}

	if err := SetForwarding(false); err != nil {
		t.Fatal(err)
	}
	finds(t, "forwarding", "is 0", "sysctl")
	must(EnsureForwarding())

	runNft(t, "add table ip filter; add chain ip filter DOCKER-USER\nadd chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }")
	finds(t, "other firewalls", "chain ip filter FORWARD", "iptables -I DOCKER-USER -i bv+")
	runNft(t, "delete table ip filter")

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

// TestCheckSaysWhyTheTableCannotBeLoaded: the Keeper knows.
func TestCheckSaysWhyTheTableCannotBeLoaded(t *testing.T) {
	newWorld(t)
	for _, c := range Check(context.Background(), hostTable(), api.Errorf(api.KindUnsupported, "nft is not installed").WithHint("install it")) {
		if c.Name == "firewall table" && (c.Status != statusFail || !strings.Contains(c.Found, "nft is not installed") || c.Fix != "install it") {
			t.Errorf("%+v", c)
		}
	}
}

// TestLimitsGrowWithTheGuests: what there must be follows from how many VMs have a link.
func TestLimitsGrowWithTheGuests(t *testing.T) {
	m, _ := newWorld(t)
	for slot := range 3 {
		attach(t, m, plan(t, slot))
	}
	if n, err := countGuests(); n != 3 || err != nil {
		t.Error(n, err)
	}
	for _, c := range []struct {
		guests, limit int
		status, fix   string
	}{
		{0, 65536, statusOK, ""},
		{12, 65536, statusOK, ""},
		{13, 65536, statusWarn, "'net.netfilter.nf_conntrack_max = 131072' | sudo tee /etc/sysctl.d/60-nf_conntrack_max.conf"},
		{60, 262144, statusOK, ""},
		{61, 262144, statusWarn, "nf_conntrack_max = 524288"},
	} {
		check := api.Check{Status: statusOK}
		judge(&check, "net.netfilter.nf_conntrack_max", c.limit, c.guests, ownConnections+c.guests*network.MaxConnections)
		if check.Status != c.status || !strings.Contains(check.Fix, c.fix) || check.Found == "" {
			t.Errorf("%d guests of %d: %+v", c.guests, c.limit, check)
		}
	}
	for guests, status := range map[int]string{1: statusOK, 500: statusOK} {
		check := api.Check{Status: statusOK}
		judge(&check, "net.ipv4.neigh.default.gc_thresh3", 1024, guests, ownNeighbours+network.NextHopsOf(guests))
		if check.Status != status {
			t.Errorf("%d guests: %+v", guests, check)
		}
		judge(&check, "net.ipv4.neigh.default.gc_thresh3", 512, guests, ownNeighbours+network.NextHopsOf(guests))
		if check.Status != statusWarn || !strings.Contains(check.Fix, "gc_thresh3 = 1024'") {
			t.Errorf("%d guests, a small table: %+v", guests, check)
		}
	}
}
