package manifest

import (
	"path"
	"slices"
)

// only are the directories of Options.Only; "" is the top, as in a lister. The zero value is for all.
type only struct {
	dirs map[string]bool
	// leads are the names in the directories above, in their order.
	leads map[string][]string
}

func newOnly(dirs []string) only {
	if len(dirs) == 0 {
		return only{}
	}
	o := only{map[string]bool{}, map[string][]string{}}
	for _, dir := range dirs {
		if dir == "." {
			dir = ""
		}
		o.dirs[dir] = true
		for dir != "" {
			above, name := path.Split(dir)
			dir = path.Clean("/" + above)[1:]
			o.leads[dir] = append(o.leads[dir], name)
		}
	}
	for dir, names := range o.leads {
		slices.Sort(names)
		o.leads[dir] = slices.Compact(names)
	}
	return o
}

// has reports whether all entries of a directory are listed.
func (o only) has(dir string) bool { return o.dirs == nil || o.dirs[dir] }

// enters reports whether anything in a directory is listed.
func (o only) enters(dir string) bool { return o.has(dir) || o.leads[dir] != nil }
