package feature

import (
	"cmp"
	"strings"
)

// order is the order of ASCII characters in the root collation of Unicode (CLDR), by which the
// program of the specification's authors compares ids: JavaScript's localeCompare. Case counts if
// nothing else differs, with lower case first.
const order = "_-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789abcdefghijklmnopqrstuvwxyz"

// collate compares two texts of ASCII characters by the root collation; others come last, by their
// number.
func collate(a, b string) int {
	lowA, lowB := strings.ToLower(a), strings.ToLower(b)
	for i := range min(len(lowA), len(lowB)) {
		if d := cmp.Compare(weight(lowA[i]), weight(lowB[i])); d != 0 {
			return d
		}
	}
	if d := cmp.Compare(len(lowA), len(lowB)); d != 0 {
		return d
	}
	return -cmp.Compare(a, b) // upper case comes later, and is smaller in ASCII
}

func weight(c byte) int {
	if i := strings.IndexByte(order, c); i >= 0 {
		return i
	}
	return len(order) + int(c)
}
