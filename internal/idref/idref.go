// Package idref is the one rule by which an object is meant by the beginning of its id,
// be it a VM, an image, a kernel, a session or an operation. Whoever looks for an object
// looks for an exact name or id first, which wins.
package idref

import (
	"strings"

	"banger/api"
)

// Shortest is how many digits of an id are enough: fewer are typed by mistake, and soon
// mean several.
const Shortest = 4

// digest is what the digest of an image or a kernel begins with; its id follows.
const digest = "sha256:"

// maxNamed is how many candidates an error names.
const maxNamed = 6

// Find returns which of ids begins with ref, at least Shortest hexadecimal digits, with
// or without "sha256:"; -1 for none. If several do, the error is of kind invalid and says
// what label calls them; what names them all, as in "images".
func Find(what, ref string, ids []string, label func(i int) string) (int, error) {
	digits := strings.TrimPrefix(ref, digest)
	if len(digits) < Shortest || strings.Trim(digits, "0123456789abcdef") != "" {
		return -1, nil
	}
	var found []int
	for i, id := range ids {
		if strings.HasPrefix(strings.TrimPrefix(id, digest), digits) {
			found = append(found, i)
		}
	}
	switch len(found) {
	case 0:
		return -1, nil
	case 1:
		return found[0], nil
	}
	var named []string
	for _, i := range found[:min(len(found), maxNamed)] {
		named = append(named, label(i))
	}
	if len(found) > maxNamed {
		named = append(named, "…")
	}
	return -1, api.Errorf(api.KindInvalid, "%.80q is the beginning of the ids of %d %s: %s; write more digits, or a name",
		ref, len(found), what, strings.Join(named, ", "))
}

// Label calls an object by its name, if it has one, and its id.
func Label(id string, names ...string) string {
	short := strings.TrimPrefix(id, digest)
	short = short[:min(len(short), 12)]
	if len(names) == 0 || names[0] == "" {
		return short
	}
	return names[0] + " (" + short + ")"
}
