package network

import (
	"encoding/json"
	"net/netip"
	"strings"
)

// packet is what is known of a packet that the host forwards. Empty fields are unknown.
type packet struct {
	in, out string // interfaces
	state   string // of its connection
	source  netip.Addr
	dest    netip.Addr
}

// answer tells whether a rule matches a packet; the fields that the rule tests may be
// unknown.
type answer int

const (
	no answer = iota
	unknown
	yes
)

func is(b bool) answer {
	if b {
		return yes
	}
	return no
}

// matches evaluates one match statement.
func (p packet) matches(raw json.RawMessage) answer {
	var m struct {
		Op    string
		Left  json.RawMessage
		Right json.RawMessage
	}
	if json.Unmarshal(raw, &m) != nil {
		return unknown
	}
	a := p.holds(m.Left, m.Right)
	switch {
	case m.Op == "==" || m.Op == "in" || a == unknown:
		return a
	case m.Op == "!=":
		return yes - a
	}
	return unknown
}

// holds evaluates whether left equals right, or is one of its elements.
func (p packet) holds(left, right json.RawMessage) answer {
	value, same := p.value(left)
	if value == "" {
		return unknown
	}
	all := alternatives(right)
	if all == nil {
		return unknown
	}
	best := no
	for _, one := range all {
		best = max(best, same(value, one))
	}
	return best
}

// value returns the value of the packet that left names, and how to compare it.
func (p packet) value(left json.RawMessage) (value string, same func(value string, with json.RawMessage) answer) {
	var l struct {
		Meta    struct{ Key string }
		Ct      struct{ Key string }
		Payload struct{ Protocol, Field string }
	}
	if json.Unmarshal(left, &l) != nil {
		return "", nil
	}
	switch {
	case l.Meta.Key == "iifname":
		return p.in, sameName
	case l.Meta.Key == "oifname":
		return p.out, sameName
	case l.Meta.Key == "nfproto":
		return "ipv4", sameName
	case l.Meta.Key == "protocol":
		return "ip", sameName
	case l.Ct.Key == "state":
		return p.state, sameName
	case l.Payload.Protocol == "ip" && l.Payload.Field == "saddr" && p.source.IsValid():
		return p.source.String(), sameAddress
	case l.Payload.Protocol == "ip" && l.Payload.Field == "daddr" && p.dest.IsValid():
		return p.dest.String(), sameAddress
	}
	return "", nil
}

// alternatives returns the elements of a list or an anonymous set, or the single
// element.
func alternatives(right json.RawMessage) []json.RawMessage {
	var list []json.RawMessage
	if json.Unmarshal(right, &list) == nil {
		return list
	}
	var set struct{ Set json.RawMessage }
	if json.Unmarshal(right, &set) == nil && set.Set != nil {
		if json.Unmarshal(set.Set, &list) == nil {
			return list
		}
	}
	return []json.RawMessage{right}
}

func sameName(value string, with json.RawMessage) answer {
	var name string
	if json.Unmarshal(with, &name) != nil || strings.HasPrefix(name, "@") { // a named set
		return unknown
	}
	if prefix, wild := strings.CutSuffix(name, "*"); wild {
		return is(strings.HasPrefix(value, prefix))
	}
	return is(value == name)
}

func sameAddress(value string, with json.RawMessage) answer {
	address := netip.MustParseAddr(value)
	var text string
	if json.Unmarshal(with, &text) == nil {
		other, err := netip.ParseAddr(text)
		if err != nil {
			return unknown
		}
		return is(address == other)
	}
	var p struct {
		Prefix struct {
			Addr string
			Len  int
		}
	}
	if json.Unmarshal(with, &p) != nil {
		return unknown
	}
	other, err := netip.ParseAddr(p.Prefix.Addr)
	if err != nil {
		return unknown
	}
	prefix, err := other.Prefix(p.Prefix.Len)
	if err != nil {
		return unknown
	}
	return is(prefix.Contains(address))
}
