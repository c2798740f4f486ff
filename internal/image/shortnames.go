package image

import (
	"strings"

	"banger/api"
	"banger/internal/image/oci/registry"
)

// UseShortNames sets the short names of references: table returns them. It is called
// each time a name is looked up that no image in the cache has.
func (c *Cache) UseShortNames(table func() (map[string]string, error)) { c.shortNames = table }

// CanPull reports whether Pull can try to get an image of that name.
func (c *Cache) CanPull(name string) bool {
	_, err := registry.Parse(name)
	return err == nil || c.host.Canonical(name) == c.host.Image()
}

// resolveShortName returns what a name stands for that no image in the cache has: by
// the table of short names a reference, by the host's release the name of its image,
// otherwise the name itself. An entry of the table is a reference: it is not looked up
// again.
func (c *Cache) resolveShortName(name string) (string, error) {
	table, err := c.shortNames()
	if err != nil {
		return "", err
	}
	short, rest := name, ""
	if n := strings.IndexAny(name, ":@"); n >= 0 {
		short, rest = name[:n], name[n:]
	}
	entry, ok := table[short]
	if !ok {
		return c.host.Canonical(name), nil
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
