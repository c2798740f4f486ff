package network

import (
	"encoding/json"
	"slices"

	"banger/api"
)

// Ruleset is all rules of a host, as `nft -j list ruleset` tells them
// (libnftables-json(5)). What iptables(8) made is among them, unless it was the
// legacy one.
type Ruleset struct {
	chains []*chain // in the order of the listing
	ours   []byte   // our table, without what differs from one loading to the next
}

type chain struct {
	Family string `json:"family"`
	Table  string `json:"table"`
	Name   string `json:"name"`
	Hook   string `json:"hook"`
	Policy string `json:"policy"`
	rules  [][]statement
}

// statement is an object with one key, which says what it is.
type statement map[string]json.RawMessage

// object is one thing of a listing, and nil but for one of these.
type object struct {
	Chain *chain
	Rule  *struct {
		Family, Table, Chain string
		Expr                 []statement
	}
}

// ParseRuleset reads a listing.
func ParseRuleset(listing []byte) (*Ruleset, error) {
	var raw struct{ Nftables []json.RawMessage }
	if err := json.Unmarshal(listing, &raw); err != nil {
		return nil, api.Errorf(api.KindInternal, "cannot read the host's firewall rules: %w", err)
	}
	r := &Ruleset{}
	var ours []any
	for _, item := range raw.Nftables {
		var o object
		if err := json.Unmarshal(item, &o); err != nil {
			return nil, api.Errorf(api.KindInternal, "cannot read a firewall rule of the host: %w", err)
		}
		r.add(o)
		if thing := oursOf(item); thing != nil {
			ours = append(ours, thing)
		}
	}
	if ours == nil {
		return r, nil
	}
	var err error
	r.ours, err = json.Marshal(ours)
	return r, err
}

func (r *Ruleset) add(o object) {
	if o.Chain != nil {
		r.chains = append(r.chains, o.Chain)
	}
	if o.Rule != nil {
		if c := r.chain(o.Rule.Family, o.Rule.Table, o.Rule.Chain); c != nil {
			c.rules = append(c.rules, o.Rule.Expr)
		}
	}
}

func (r *Ruleset) chain(family, table, name string) *chain {
	for _, c := range r.chains {
		if c.Family == family && c.Table == table && c.Name == name {
			return c
		}
	}
	return nil
}

// HasTable tells whether the host's table is loaded.
func (r *Ruleset) HasTable() bool { return r.ours != nil }

// SameTable tells whether the host's table is the same in two listings.
func (r *Ruleset) SameTable(other *Ruleset) bool {
	return slices.Equal(r.ours, other.ours)
}

// oursOf returns a thing that belongs to the host's table, without its handle,
// or nil.
func oursOf(item json.RawMessage) any {
	var thing map[string]map[string]any
	if json.Unmarshal(item, &thing) != nil {
		return nil
	}
	for kind, fields := range thing {
		name := fields["table"]
		if kind == "table" {
			name = fields["name"]
		}
		if fields["family"] != "inet" || name != TableName {
			return nil
		}
		delete(fields, "handle")
		sortSets(fields)
	}
	return thing
}

// sortSets gives the elements of sets, which have no order, one.
func sortSets(v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, inner := range v {
			sortSets(inner)
			if elements, ok := inner.([]any); ok && key == "set" {
				slices.SortFunc(elements, byText)
			}
		}
	case []any:
		for _, inner := range v {
			sortSets(inner)
		}
	}
}

func byText(a, b any) int {
	x, _ := json.Marshal(a) // both came from JSON
	y, _ := json.Marshal(b)
	return slices.Compare(x, y)
}
