package network

import "encoding/json"

// verdict is the result for a packet in a chain.
type verdict int

const (
	proceed verdict = iota // to the end of the chain: its policy applies
	accepted
	dropped
	back // to the chain that jumped here
)

// walk evaluates a chain, and those it jumps to, for a packet. Rules that depend on
// unknown fields of the packet are skipped.
type walk struct {
	rules *Ruleset
	p     packet
	// seen is the verdict of each chain. A chain that is being evaluated proceeds; only
	// a listing that does not come from a kernel can contain such a loop.
	seen map[*chain]verdict
}

func (w *walk) through(c *chain) verdict {
	if v, ok := w.seen[c]; ok {
		return v
	}
	w.seen[c] = proceed
	for _, rule := range c.rules {
		if v := w.rule(c, rule); v != proceed {
			w.seen[c] = v
			break
		}
	}
	return w.seen[c]
}

func (w *walk) rule(c *chain, rule []statement) verdict {
	for _, s := range rule {
		for kind, raw := range s {
			v, next := w.statement(c, kind, raw)
			if !next {
				return v
			}
		}
	}
	return proceed
}

// statement returns a statement's verdict, and whether the rule's next statement
// follows.
func (w *walk) statement(c *chain, kind string, raw json.RawMessage) (v verdict, next bool) {
	switch kind {
	case "accept":
		return accepted, false
	case "drop", "reject":
		return dropped, false
	case "return":
		return back, false
	case "jump", "goto":
		return w.jump(c, kind, raw), false
	case "vmap":
		return w.vmap(c, raw), false
	case "match":
		return proceed, w.p.matches(raw) == yes
	case "counter", "log", "mangle", "notrack":
		return proceed, true
	}
	return proceed, false // limits, extensions of iptables and other conditions
}

func (w *walk) jump(c *chain, kind string, raw json.RawMessage) verdict {
	var to struct{ Target string }
	if json.Unmarshal(raw, &to) != nil {
		return proceed
	}
	target := w.rules.chain(c.Family, c.Table, to.Target)
	if target == nil {
		return proceed
	}
	v := w.through(target)
	switch {
	case v == accepted || v == dropped:
		return v
	case kind == "goto":
		return back
	}
	return proceed
}

// vmap returns the verdict of a verdict map.
func (w *walk) vmap(c *chain, raw json.RawMessage) verdict {
	var m struct {
		Key  json.RawMessage
		Data struct{ Set [][]json.RawMessage }
	}
	if json.Unmarshal(raw, &m) != nil {
		return proceed
	}
	for _, pair := range m.Data.Set {
		if len(pair) != 2 || w.p.holds(m.Key, pair[0]) != yes {
			continue
		}
		var s statement
		if json.Unmarshal(pair[1], &s) != nil {
			return proceed
		}
		return w.rule(c, []statement{s})
	}
	return proceed
}

// drops reports whether a base chain drops a packet.
func (r *Ruleset) drops(c *chain, p packet) bool {
	w := walk{rules: r, p: p, seen: map[*chain]verdict{}}
	switch w.through(c) {
	case accepted:
		return false
	case dropped:
		return true
	}
	return c.Policy == "drop"
}
