package treewatch

import (
	"path"
	"strings"
)

// Skips are directories that are left out: by their names, wherever they are, or by their paths.
type Skips struct{ names, paths map[string]bool }

// NewSkips returns those of a list: names such as node_modules, and paths, which have a slash,
// such as /build or web/dist.
func NewSkips(list []string) Skips {
	s := Skips{map[string]bool{}, map[string]bool{}}
	for _, item := range list {
		item = strings.TrimRight(item, "/")
		if strings.Contains(item, "/") {
			s.paths[strings.TrimPrefix(path.Clean(item), "/")] = true
		} else {
			s.names[item] = true
		}
	}
	return s
}

// Has reports whether the directory of a path is left out. It does not look at those above it.
func (s Skips) Has(name string) bool { return s.names[path.Base(name)] || s.paths[name] }
