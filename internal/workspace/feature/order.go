package feature

import (
	"slices"
	"strings"

	"banger/api"
)

// node is a feature in the graph of what depends on what.
type node struct {
	*Feature
	needs    []*node // dependsOn
	priority int     // of overrideFeatureInstallOrder
}

// compare orders two features: by where they come from, then by version, options and content. Equal
// ones are the same feature (the specification's feature equality), and are installed once. It is
// compareTo of the program of the specification's authors, which differs from the text: that has
// the feature with more options first, and versions in their own order.
func (n *node) compare(other *node) int {
	a, b := n.ID, other.ID
	if (a.local == "") != (b.local == "") {
		return collate(a.text, b.text)
	}
	options := n.Options.compare(other.Options)
	if a.local != "" {
		if d := collate(a.local, b.local); d != 0 {
			return d
		}
		return options
	}
	if n.Digest == other.Digest && options == 0 {
		return 0
	}
	if d := n.compareResources(other); d != 0 {
		return d
	}
	switch {
	case a.tag != "" && b.tag != "" && a.tag != b.tag:
		return collate(a.tag, b.tag)
	case options != 0:
		return options
	}
	return strings.Compare(n.Digest, other.Digest)
}

// compareResources compares registry, namespace and name. A name is equal to a former one.
func (n *node) compareResources(other *node) int {
	a, b := n.ID, other.ID
	if d := collate(a.namespace(), b.namespace()); d != 0 {
		return d
	}
	for _, name := range n.aliases() {
		if slices.Contains(other.aliases(), name) {
			return 0
		}
	}
	return collate(a.name(), b.name())
}

func (n *node) equal(other *node) bool {
	return (n.ID.local == "") == (other.ID.local == "") && n.compare(other) == 0
}

// sorted returns the features in the order in which they are installed: in rounds, each of them
// what depends on nothing that is not installed, and of that what the user wants first. A feature
// has its dependsOn before it, and its installsAfter if they are installed at all.
func sorted(all []*node, override []ID) ([]*Feature, error) {
	for i, id := range override {
		for _, n := range all {
			if id.is(n.Feature) {
				n.priority = max(n.priority, len(override)-i)
			}
		}
	}
	var done []*node
	for left := slices.Clone(all); len(left) > 0; {
		round := slices.DeleteFunc(slices.Clone(left), func(n *node) bool { return !n.ready(all, done) })
		if len(round) == 0 {
			return nil, cycle(left)
		}
		most := slices.MaxFunc(round, func(a, b *node) int { return a.priority - b.priority }).priority
		round = slices.DeleteFunc(round, func(n *node) bool { return n.priority < most })
		left = slices.DeleteFunc(left, func(n *node) bool { return slices.Contains(round, n) })
		slices.SortFunc(round, func(a, b *node) int { return a.compare(b) })
		done = append(done, round...)
	}
	features := make([]*Feature, len(done))
	for i, n := range done {
		features[i] = n.Feature
	}
	return features, nil
}

// ready reports whether all that a feature comes after is installed.
func (n *node) ready(all, done []*node) bool {
	for _, need := range n.needs {
		if !slices.ContainsFunc(done, need.equal) {
			return false
		}
	}
	for _, id := range n.InstallAfter {
		is := func(other *node) bool { return id.matches(other.Feature) }
		if slices.ContainsFunc(all, is) && !slices.ContainsFunc(done, is) {
			return false
		}
	}
	return true
}

func cycle(left []*node) error {
	var names []string
	for _, n := range left {
		names = append(names, n.ID.String())
	}
	return api.Errorf(api.KindInvalid, "cannot install the features: each of these depends on another of them: %s", strings.Join(names, ", ")).
		WithHint("remove one of them from devcontainer.json, or report it to its author (dependsOn, installsAfter)")
}
