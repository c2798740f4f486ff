package network

import (
	"net/netip"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/golden"
)

func TestPlanAsText(t *testing.T) {
	var all []string
	for _, slot := range []int{0, 1, 16383} {
		p, err := New(Spec{ID: "0123456789ab", Slot: slot, UID: 1900000000 + slot})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p.String())
	}
	isolated, err := New(Spec{ID: "0123456789ab", Slot: 7, UID: 1900000007, Isolated: true})
	if err != nil {
		t.Fatal(err)
	}
	all = append(all, isolated.String())
	golden.Check(t, "plans.txt", strings.Join(all, "\n"))
}

func TestTwoSlotsShareNoAddress(t *testing.T) {
	outer := netip.MustParsePrefix("172.30.4.0/24")
	slots, err := Slots(outer)
	if err != nil || slots != 127 {
		t.Fatal(slots, err)
	}
	seen := map[netip.Addr]bool{ResolverAddress(outer): true}
	for slot := range slots {
		p, err := New(Spec{ID: "0123456789ab", Slot: slot, Outer: outer, UID: 1})
		if err != nil {
			t.Fatal(err)
		}
		if p.Host.Masked() != p.Outer.Masked() {
			t.Errorf("slot %d: %s and %s are not on one link", slot, p.Host, p.Outer)
		}
		for _, a := range []netip.Addr{p.Host.Addr(), p.Outer.Addr()} {
			if seen[a] || !outer.Contains(a) {
				t.Errorf("slot %d has %s", slot, a)
			}
			seen[a] = true
		}
	}
}

func TestWhatIsRefused(t *testing.T) {
	good := Spec{ID: "0123456789ab", Slot: 3, Outer: DefaultOuter, UID: 1900000003}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Spec){
		"no id":                  func(s *Spec) { s.ID = "" },
		"a path for an id":       func(s *Spec) { s.ID = "../../../etc" },
		"a negative slot":        func(s *Spec) { s.Slot = -1 },
		"the resolver's slot":    func(s *Spec) { s.Slot = 32767 },
		"a slot out of range":    func(s *Spec) { s.Slot = 1 << 40 },
		"root":                   func(s *Spec) { s.UID = 0 },
		"a negative uid":         func(s *Spec) { s.UID = -1 },
		"uid (uid_t)-1":          func(s *Spec) { s.UID = 1<<32 - 1 },
		"IPv6":                   func(s *Spec) { s.Outer = netip.MustParsePrefix("fd00::/64") },
		"IPv4 in IPv6":           func(s *Spec) { s.Outer = netip.MustParsePrefix("::ffff:10.0.0.0/112") },
		"a host address":         func(s *Spec) { s.Outer = netip.MustParsePrefix("10.213.0.1/16") },
		"everything":             func(s *Spec) { s.Outer = netip.MustParsePrefix("0.0.0.0/0") },
		"no room":                func(s *Spec) { s.Slot, s.Outer = 0, netip.MustParsePrefix("10.213.0.0/31") },
		"loopback":               func(s *Spec) { s.Outer = netip.MustParsePrefix("127.0.0.0/16") },
		"link-local":             func(s *Spec) { s.Outer = netip.MustParsePrefix("169.254.0.0/16") },
		"multicast":              func(s *Spec) { s.Outer = netip.MustParsePrefix("224.0.0.0/16") },
		"reserved":               func(s *Spec) { s.Outer = netip.MustParsePrefix("240.0.0.0/16") },
		"this network":           func(s *Spec) { s.Outer = netip.MustParsePrefix("0.1.0.0/16") },
		"over the guests' own":   func(s *Spec) { s.Outer = netip.MustParsePrefix("10.0.0.0/16") },
		"within the guests' own": func(s *Spec) { s.Outer = netip.MustParsePrefix("10.0.2.128/25") },
	} {
		s := good
		change(&s)
		if p, err := New(s); api.KindOf(err) != api.KindInvalid {
			t.Errorf("%s: %v\n%s", name, err, p)
		}
	}
}

func TestTablesAsText(t *testing.T) {
	for name, table := range map[string]HostTable{
		"host.nft":             {Outer: DefaultOuter, Resolver: netip.MustParseAddr("192.0.2.53")},
		"host-no-resolver.nft": {Outer: netip.MustParsePrefix("172.30.4.0/24")},
	} {
		text, err := table.Text()
		if err != nil {
			t.Fatal(err)
		}
		golden.Check(t, name, text)
	}
	for name, isolated := range map[string]bool{"guest.nft": false, "isolated.nft": true} {
		text, err := GuestTables(DefaultOuter, isolated)
		if err != nil {
			t.Fatal(err)
		}
		golden.Check(t, name, text)
	}
}

func TestTablesOfNoPrefixAreRefused(t *testing.T) {
	if text, err := (HostTable{}).Text(); err == nil {
		t.Error(text)
	}
	if text, err := GuestTables(netip.MustParsePrefix("10.0.0.0/8"), false); err == nil {
		t.Error(text)
	}
}
