package network

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/internal/golden"
)

func rulesets(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/rulesets/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	all := map[string][]byte{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".json")] = text
	}
	return all
}

// TestObstacles looks at what nft lists on hosts with other firewalls; "-told"
// are those to which somebody did what the fix says.
func TestObstacles(t *testing.T) {
	var b strings.Builder
	for _, name := range []string{
		"docker", "docker-told", "ufw", "ufw-told", "firewalld", "firewalld-told", "by-hand", "replies-forgotten", "harmless", "banger",
	} {
		r, err := ParseRuleset(rulesets(t)[name])
		if err != nil {
			t.Fatal(name, err)
		}
		fmt.Fprintf(&b, "%s:\n", name)
		for _, o := range r.Obstacles(DefaultOuter, "eth0") {
			fmt.Fprintf(&b, "  chain %s\n  %s\n", o.Chain, o.Fix)
		}
	}
	golden.Check(t, "obstacles.txt", b.String())
}

func TestSortSets(t *testing.T) {
	const listing = `table inet banger {
	flags dormant

	set nexthops {
		type ipv4_addr
		flags dynamic,timeout
	}
	chain guard {
		type filter hook prerouting priority mangle; policy accept;
		ip daddr { 10.0.0.2, 10.0.0.1 } meta l4proto { udp, tcp } ct state new add @connections { ip saddr ct count over 9 } drop
	}
}
`
	want := strings.NewReplacer("10.0.0.2, 10.0.0.1", "10.0.0.1, 10.0.0.2", "udp, tcp", "tcp, udp").Replace(listing)
	if got := SortSets(listing); got != want {
		t.Error(got)
	}
	if got := SortSets(want); got != want {
		t.Error(got)
	}
}

func TestJumpsInACircleEnd(t *testing.T) {
	const circle = `{"nftables": [
		{"chain": {"family": "ip", "table": "t", "name": "f", "hook": "forward", "policy": "drop"}},
		{"rule": {"family": "ip", "table": "t", "chain": "f", "expr": [{"jump": {"target": "f"}}]}},
		{"rule": {"family": "ip", "table": "t", "chain": "f", "expr": [{"jump": {"target": "f"}}]}}]}`
	r, err := ParseRuleset([]byte(circle))
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Obstacles(DefaultOuter, ""); len(got) != 1 {
		t.Error(got)
	}
}

func TestCollisions(t *testing.T) {
	all := []Neighbour{
		{"eth0", netip.MustParsePrefix("0.0.0.0/0")},
		{"eth0", netip.MustParsePrefix("192.0.2.0/24")},
		{"bv0123456789ab", netip.MustParsePrefix("10.213.0.0/31")},
	}
	if got := Collisions(DefaultOuter, all); got != nil {
		t.Error(got)
	}
	for _, n := range []Neighbour{
		{"vpn0", netip.MustParsePrefix("10.0.0.0/8")},
		{"eth1", netip.MustParsePrefix("10.213.7.1/32")},
		{"bvother", netip.MustParsePrefix("10.213.0.0/24")},
	} {
		if got := Collisions(DefaultOuter, append(all, n)); len(got) != 1 || got[0] != n {
			t.Errorf("%v: %v", n, got)
		}
	}
}

func FuzzRuleset(f *testing.F) {
	for _, text := range rulesets(f) {
		f.Add(text)
	}
	f.Fuzz(func(_ *testing.T, text []byte) {
		r, err := ParseRuleset(text)
		if err != nil {
			return
		}
		r.Obstacles(DefaultOuter, "eth0")
	})
}

// TestLimitsAddUp: what all guests together can take of the neighbour table leaves
// half of the usual one to the host.
func TestLimitsAddUp(t *testing.T) {
	for guests, want := range map[int]int{0: 0, 1: 72, 7: 504, 8: MaxNextHops, 16383: MaxNextHops} {
		if got := NextHopsOf(guests); got != want {
			t.Errorf("%d guests: %d, want %d", guests, got, want)
		}
	}
}

// TestTheLimitsAreDocumented holds the guide to the numbers.
func TestTheLimitsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../../docs/system-mode.md")
	if err != nil {
		t.Fatal(err)
	}
	guide := strings.Join(strings.Fields(string(text)), " ")
	for _, want := range []string{
		fmt.Sprintf("%d connections", MaxConnections),
		fmt.Sprintf("%d at once and %d more each second", NextHopBurst, NextHopRate),
		fmt.Sprintf("%d of all guests within %d seconds", MaxNextHops, NextHopSeconds),
	} {
		if !strings.Contains(guide, want) {
			t.Errorf("the guide does not say: %s", want)
		}
	}
}
