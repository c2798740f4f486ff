package network

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"banger/api"
)

// Ruleset is all rules of a host, as listed by `nft -j list ruleset`
// (libnftables-json(5)). Rules of iptables(8) are included, unless it is the legacy
// version.
type Ruleset struct {
	chains []*chain // in the order of the listing
}

type chain struct {
	Family string `json:"family"`
	Table  string `json:"table"`
	Name   string `json:"name"`
	Hook   string `json:"hook"`
	Policy string `json:"policy"`
	rules  [][]statement
}

// statement is an object with one key, which names its kind.
type statement map[string]json.RawMessage

// object is one object of a listing; all fields but one are nil.
type object struct {
	Chain *chain
	Rule  *struct {
		Family, Table, Chain string
		Expr                 []statement
	}
}

// ParseRuleset parses a listing.
func ParseRuleset(listing []byte) (*Ruleset, error) {
	var raw struct{ Nftables []json.RawMessage }
	if err := json.Unmarshal(listing, &raw); err != nil {
		return nil, api.Errorf(api.KindInternal, "cannot read the host's firewall rules: %w", err)
	}
	r := &Ruleset{}
	for _, item := range raw.Nftables {
		var o object
		if err := json.Unmarshal(item, &o); err != nil {
			return nil, api.Errorf(api.KindInternal, "cannot read a firewall rule of the host: %w", err)
		}
		r.add(o)
	}
	return r, nil
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

// sets matches anonymous sets in the output of nft(8), which are on one line.
var sets = regexp.MustCompile(`\{ [^{}]*, [^{}]* \}`)

// SortSets sorts the elements of sets, which are unordered, so that listings of equal
// tables are equal.
func SortSets(listing string) string {
	return sets.ReplaceAllStringFunc(listing, func(set string) string {
		elements := strings.Split(set[2:len(set)-2], ", ")
		slices.Sort(elements)
		return "{ " + strings.Join(elements, ", ") + " }"
	})
}
