package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// survivor is a mutant that no test detects, identified by what does not change when
// lines are added above it: the text of its line, and the column in it. Equal ones are
// counted.
type survivor struct {
	file   string
	kind   string
	column int
	line   string
}

func (s survivor) String() string {
	return fmt.Sprintf("%s %s %d: %s", s.file, s.kind, s.column, s.line)
}

// survivors returns the mutants that survived, in the order of the list.
func survivors(pkg string, all []mutant, read func(path string) ([]byte, error)) ([]survivor, error) {
	var found []survivor
	for _, m := range all {
		switch m.Status {
		case "KILLED", "NOT VIABLE", "TIMED OUT":
			continue
		case "LIVED", "NOT COVERED":
		default:
			return nil, fmt.Errorf("%s:%d: %q is not a known result", m.File, m.Line, m.Status)
		}
		text, err := read(m.File)
		if err != nil {
			return nil, err
		}
		lines := strings.Split(string(text), "\n")
		if m.Line < 1 || m.Line > len(lines) {
			return nil, fmt.Errorf("%s has no line %d", m.File, m.Line)
		}
		line := lines[m.Line-1]
		trimmed := strings.TrimLeft(line, "\t")
		found = append(found, survivor{m.File, m.Type, m.Column - (len(line) - len(trimmed)), trimmed})
	}
	return found, nil
}

// known are the listed survivors with their reasons.
type known []survivor

// of returns those of one package.
func (k known) of(pkg string) known {
	var some known
	for _, s := range k {
		if filepath.Dir(s.file) == pkg {
			some = append(some, s)
		}
	}
	return some
}

// parseList parses the list: a reason starts a line, and its survivors follow, each
// after a tab. "#" starts a comment.
func parseList(text string) (known, error) {
	var all known
	reason := ""
	for i, line := range strings.Split(text, "\n") {
		entry, isSurvivor := strings.CutPrefix(line, "\t")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
			reason = ""
		case !isSurvivor:
			reason += line
		case reason == "":
			return nil, fmt.Errorf("%s:%d: a survivor without a reason", list, i+1)
		default:
			var s survivor
			where, code, ok := strings.Cut(entry, ": ")
			if n, err := fmt.Sscanf(where, "%s %s %d", &s.file, &s.kind, &s.column); !ok || err != nil || n != 3 {
				return nil, fmt.Errorf("%s:%d: not FILE MUTANT COLUMN: LINE", list, i+1)
			}
			s.line = code
			all = append(all, s)
		}
	}
	return all, nil
}

// compare returns the survivors that are not in the list, and the entries of the list
// that did not survive.
func compare(listed known, found []survivor) []error {
	var wrong []error
	left := slices.Clone(listed)
	for _, s := range found {
		if i := slices.Index(left, s); i >= 0 {
			left = slices.Delete(left, i, i+1)
			continue
		}
		wrong = append(wrong, fmt.Errorf("no test detects this change; write one, or explain in %s why there can be none:\n\t%s", list, s))
	}
	for _, s := range left {
		wrong = append(wrong, fmt.Errorf("a test detects this change now, or the line has changed; remove it from %s:\n\t%s", list, s))
	}
	return wrong
}
