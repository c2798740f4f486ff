package image

import (
	"strings"

	"banger/api"
	"banger/internal/image/distro"
	"banger/internal/image/oci/registry"
)

// nameRules say which image a name means that a user has typed, whether the cache has it
// or not.
type nameRules struct {
	host       distro.Release
	shortNames func() (map[string]string, error)
}

func noShortNames() (map[string]string, error) { return nil, nil }

// ofReference returns the name of a reference's image in the cache: the short one, unless
// it names the image of the host's distribution.
func (n *nameRules) ofReference(ref registry.Reference) string {
	if name := ref.Familiar(); n.host.Canonical(name) == name {
		return name
	}
	return ref.String()
}

// inCache returns the name that the image which a name means has in the cache, if it is
// there: alpine is alpine:latest.
func (n *nameRules) inCache(name string) (string, error) {
	name, err := n.resolve(name)
	if err != nil {
		return "", err
	}
	if r, err := registry.Parse(name); err == nil && !n.host.Builds(name) {
		name = n.ofReference(r)
	}
	return name, nil
}

// resolve returns what a name stands for that no image in the cache has: by
// the table of short names a reference, by the host's release the name of its image,
// otherwise the name itself. An entry of the table is a reference: it is not looked up
// again.
func (n *nameRules) resolve(name string) (string, error) {
	table, err := n.shortNames()
	if err != nil {
		return "", err
	}
	short, rest := name, ""
	if n := strings.IndexAny(name, ":@"); n >= 0 {
		short, rest = name[:n], name[n:]
	}
	entry, ok := table[short]
	if !ok {
		return n.host.Canonical(name), nil
	}
	if rest != "" && strings.ContainsAny(entry[strings.LastIndex(entry, "/")+1:], ":@") {
		return "", api.Errorf(api.KindInvalid, "cannot resolve %.200q: in the table of short names, %s is already %s", name, short, entry).
			WithHint("leave out %q, or name the image with its registry, as docker.io/library/%.200s", rest, name)
	}
	ref, err := registry.Parse(entry + rest)
	if err != nil {
		return "", err
	}
	return ref.String(), nil
}
