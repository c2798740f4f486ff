package treename

import "strings"

// Collision is two names that are one on a file system that does not tell upper case from
// lower case.
type Collision struct{ Path, Other string }

// Collisions returns the names of files and directories that differ only in case. isNew says
// which paths are looked at: two of which neither is new are not reported. all is sorted.
func Collisions(all []string, isNew func(path string) bool) []Collision {
	type owner struct{ name, path string }
	var found []Collision
	seen := make(map[string]owner, len(all))
	reported := map[string]bool{}
	add := func(name, path string) {
		folded := strings.ToLower(name)
		first, taken := seen[folded]
		switch {
		case !taken:
			seen[folded] = owner{name, path}
		case first.name != name && !reported[name] && (isNew(path) || isNew(first.path)):
			reported[name] = true
			found = append(found, Collision{Path: name, Other: first.name})
		}
	}
	previous := ""
	for _, path := range all {
		for i := range len(path) {
			// The directories that path shares with the path before it have been looked at.
			if path[i] == '/' && !strings.HasPrefix(previous, path[:i+1]) {
				add(path[:i], path)
			}
		}
		add(path, path)
		previous = path
	}
	return found
}
