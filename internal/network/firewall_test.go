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

func TestTheTableIsRecognised(t *testing.T) {
	text := string(rulesets(t)["banger"])
	loaded, err := ParseRuleset([]byte(text))
	if err != nil || !loaded.HasTable() {
		t.Fatal(err)
	}
	for name, change := range map[string]struct {
		from, to string
		same     bool
	}{
		"other handles":      {`"handle": 1`, `"handle": 9`, true},
		"sets in any order":  {`{"set": ["tcp", "udp"]}`, `{"set": ["udp", "tcp"]}`, true},
		"another resolver":   {"192.0.2.53", "192.0.2.54", false},
		"a verdict":          {`{"drop": null}`, `{"accept": null}`, false},
		"a prefix":           {`"len": 16`, `"len": 17`, false},
		"a policy":           {`"policy": "accept"`, `"policy": "drop"`, false},
		"the table's name":   {`"banger"`, `"other"`, false},
		"the table's family": {`"inet"`, `"ip"`, false},
	} {
		changed := strings.ReplaceAll(text, change.from, change.to)
		if changed == text {
			t.Fatalf("%s: nothing changed", name)
		}
		r, err := ParseRuleset([]byte(changed))
		if err != nil {
			t.Fatal(name, err)
		}
		if got := r.SameTable(loaded); got != change.same {
			t.Errorf("%s: the same: %v", name, got)
		}
	}
	for name, other := range rulesets(t) {
		if r, err := ParseRuleset(other); err != nil || r.HasTable() != (name == "banger") {
			t.Errorf("%s: %v", name, err)
		}
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
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := ParseRuleset(text)
		if err != nil {
			return
		}
		r.Obstacles(DefaultOuter, "eth0")
		if !r.SameTable(r) {
			t.Error("it is not the same as itself")
		}
	})
}
