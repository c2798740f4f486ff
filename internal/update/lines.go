package update

import (
	"fmt"
	"strings"
)

// contextLines is how many equal lines are shown around a change.
const contextLines = 3

// maxTable bounds that table; of longer files the beginnings are compared.
const maxTable = 4 << 20

// edit is a line of a comparison: ' ' in both, '-' in the first, '+' in the second.
type edit struct {
	kind byte
	text string
}

// compare is the shortest way from a to b, by the table of longest common
// subsequences: files of units have a hundred lines.
func compare(a, b []string) []edit {
	if len(a)*len(b) > maxTable {
		a, b = a[:min(len(a), 1000)], b[:min(len(b), 1000)]
	}
	common := make([][]int, len(a)+1)
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for k := len(b) - 1; k >= 0; k-- {
			if a[i] == b[k] {
				common[i][k] = common[i+1][k+1] + 1
			} else {
				common[i][k] = max(common[i+1][k], common[i][k+1])
			}
		}
	}
	var edits []edit
	i, k := 0, 0
	for i < len(a) || k < len(b) {
		switch {
		case i < len(a) && k < len(b) && a[i] == b[k]:
			edits = append(edits, edit{' ', a[i]})
			i, k = i+1, k+1
		case k == len(b) || i < len(a) && common[i+1][k] >= common[i][k+1]:
			edits = append(edits, edit{'-', a[i]})
			i++
		default:
			edits = append(edits, edit{'+', b[k]})
			k++
		}
	}
	return edits
}

// hunks renders a comparison as diff -u does (diffutils' manual, "Detailed
// Description of Unified Format").
func hunks(a, b []string) string {
	edits := compare(a, b)
	var out strings.Builder
	for at := 0; at < len(edits); {
		first := at
		for first < len(edits) && edits[first].kind == ' ' {
			first++
		}
		if first == len(edits) {
			break
		}
		begin := max(at, first-contextLines)
		end := hunkEnd(edits, first)
		out.WriteString(hunk(edits, begin, end))
		at = end
	}
	return out.String()
}

// hunkEnd is where a hunk ends: where more than twice the context is equal.
func hunkEnd(edits []edit, from int) int {
	last := from
	for i := from; i < len(edits) && i-last <= 2*contextLines+1; i++ {
		if edits[i].kind != ' ' {
			last = i
		}
	}
	return min(len(edits), last+1+contextLines)
}

func hunk(edits []edit, begin, end int) string {
	before, after := [2]int{}, [2]int{} // lines in front of it, and in it
	for i, e := range edits[:end] {
		in := 0
		if i >= begin {
			in = 1
		}
		if e.kind != '+' {
			before[in]++
		}
		if e.kind != '-' {
			after[in]++
		}
	}
	var out strings.Builder
	fmt.Fprintf(&out, "@@ -%s +%s @@\n", span(before), span(after))
	for _, e := range edits[begin:end] {
		fmt.Fprintf(&out, "%c%s\n", e.kind, e.text)
	}
	return out.String()
}

// span is a hunk's place: a line and how many; an empty one is after its line.
func span(n [2]int) string {
	switch n[1] {
	case 0:
		return fmt.Sprintf("%d,0", n[0])
	case 1:
		return fmt.Sprint(n[0] + 1)
	}
	return fmt.Sprintf("%d,%d", n[0]+1, n[1])
}
