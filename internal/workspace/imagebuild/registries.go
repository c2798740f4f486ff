package imagebuild

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Registries are the user's settings for base images. They have no passwords: what a Dockerfile runs
// could read them.
type Registries struct {
	Default string            // of names without a registry
	Mirrors map[string]string // by registry: what is asked first
	CA      []byte            // further certificates (PEM) that registries are trusted with
}

// file is the text for containers-registries.conf(5). A name means here what it means elsewhere in
// banger, so the aliases of the distribution do not count.
func (r Registries) file() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "unqualified-search-registries = [%q]\nshort-name-mode = \"disabled\"\n", r.Default)
	for _, registry := range slices.Sorted(maps.Keys(r.Mirrors)) {
		fmt.Fprintf(&b, "\n[[registry]]\nlocation = %q\n[[registry.mirror]]\nlocation = %q\n", registry, r.Mirrors[registry])
	}
	return []byte(b.String())
}
