package history

import (
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"banger/internal/workspace/treename"
)

// check refuses branches that git takes and the user would not want, and removes them from what
// came. A name that git itself refuses (git-check-ref-format(1)) does not get here.
func (f *fetch) check() {
	names := slices.Sorted(maps.Keys(f.came))
	why := map[string]string{}
	for _, name := range names {
		why[name] = unwanted(name, f.came[name].kind)
	}
	for _, c := range treename.Collisions(names, func(string) bool { return true }) {
		for _, name := range names { // c is a branch, or what branches have before a slash
			if (name == c.Path || strings.HasPrefix(name, c.Path+"/")) && why[name] == "" {
				why[name] = "its name differs from that of " + c.Other + " only in case"
			}
		}
	}
	for _, name := range names {
		if why[name] == "" {
			f.result.Total++
			continue
		}
		f.result.Refused = append(f.result.Refused, Refused{name, why[name]})
		delete(f.came, name)
		delete(f.had, name) // it stays as it is
	}
}

// unwanted returns why a branch is not taken, or "".
func unwanted(name, kind string) string {
	first, _, _ := strings.Cut(name, "/")
	switch {
	case kind != "commit":
		return "it is not a commit"
	case strings.EqualFold(first, "HEAD"):
		return "git would take its name for the VM's main branch" // refs/remotes/VM/HEAD (gitrevisions(7))
	case strings.HasPrefix(name, "-"):
		return "git's commands would take its name for an option"
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "its name has characters that are not shown"
	}
	return ""
}
