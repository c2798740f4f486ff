package main

import (
	"errors"
	"os"
	"strings"
)

// Marks begin the parts of bench.md that have a run of their own; what is before
// the first is of `make bench`.
const (
	imagesMark = "<!-- Written by `make bench-images`. Do not edit. -->\n"
	labMark    = "<!-- Written by `make lab-bench`. Do not edit. -->\n"
)

// marks in the order of their parts.
var marks = []string{imagesMark, labMark}

// writePart puts a part into the page, and keeps the others. The first has no mark.
func writePart(page, mark, text string) error {
	old, err := os.ReadFile(page)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	parts := split(string(old))
	parts[mark] = text
	all := strings.TrimRight(parts[""], "\n") + "\n"
	for _, m := range marks {
		if parts[m] != "" {
			all += "\n" + m + strings.TrimRight(parts[m], "\n") + "\n"
		}
	}
	return os.WriteFile(page, []byte(strings.TrimLeft(all, "\n")), 0o644)
}

// split takes a page apart by its marks.
func split(page string) map[string]string {
	parts := map[string]string{}
	for i := len(marks) - 1; i >= 0; i-- {
		before, part, there := strings.Cut(page, marks[i])
		if there {
			page, parts[marks[i]] = before, part
		}
	}
	parts[""] = page
	return parts
}
