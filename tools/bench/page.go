package main

import (
	"errors"
	"os"
	"strings"
)

// Marks start the parts of bench.md that have separate runs; the part before the first
// mark is from `make bench`.
const (
	imagesMark = "<!-- Written by `make bench-images`. Do not edit. -->\n"
	labMark    = "<!-- Written by `make lab-bench`. Do not edit. -->\n"
)

// marks in the order of their parts.
var marks = []string{imagesMark, labMark}

// writePart writes a part of the page, and keeps the others. The first has no mark.
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

// split splits a page at its marks.
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
