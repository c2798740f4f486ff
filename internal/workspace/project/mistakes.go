package project

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"banger/api"
	"banger/internal/tomlline"
)

// maxMistakes is how many mistakes of a file are told: a reader mends some at a time.
const maxMistakes = 20

// mistake is something in a file that its reader has to mend.
type mistake struct {
	line       int
	text, hint string
}

// reader collects the mistakes of a file.
type reader struct {
	lines    tomlline.Index
	mistakes []mistake
}

// place is a value in the file, for errors that name its line.
type place struct {
	r    *reader
	path []string
}

// in is a key of a table.
func (p place) in(key string) place {
	return place{p.r, append(p.path[:len(p.path):len(p.path)], key)}
}

// item is an item of a list.
func (p place) item(i int) place { return p.in(tomlline.Item(i)) }

// wrong records a mistake.
func (p place) wrong(err error) {
	m := mistake{line: p.r.lines.Line(p.path...), text: err.Error()}
	if e := api.AsError(err); e != nil {
		m.hint = e.Hint
	}
	if name := p.name(); name != "" {
		m.text = name + ": " + m.text
	}
	p.r.mistakes = append(p.r.mistakes, m)
}

func (p place) wrongf(format string, args ...any) { p.wrong(fmt.Errorf(format, args...)) }

// name returns the keys of the path.
func (p place) name() string {
	var parts []string
	for _, part := range p.path {
		if strings.HasPrefix(part, "#") {
			continue
		}
		if !bareKey.MatchString(part) {
			part = fmt.Sprintf("%.40q", part)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ".")
}

// err returns the mistakes in the order of their lines, or nil.
func (r *reader) err(file string) error {
	if len(r.mistakes) == 0 {
		return nil
	}
	slices.SortStableFunc(r.mistakes, func(a, b mistake) int { return cmp.Compare(a.line, b.line) })
	var texts, hints []string
	for i, m := range r.mistakes {
		if i == maxMistakes {
			texts = append(texts, fmt.Sprintf("and %d more", len(r.mistakes)-maxMistakes))
			break
		}
		texts = append(texts, fmt.Sprintf("line %d: %s", m.line, m.text))
		if m.hint != "" && !slices.Contains(hints, m.hint) {
			hints = append(hints, m.hint)
		}
	}
	if len(texts) > 1 {
		texts = append([]string{fmt.Sprintf("it has %d mistakes", len(r.mistakes))}, texts...)
	}
	return api.Errorf(api.KindInvalid, "cannot use %s: %s", file, strings.Join(texts, "\n  ")).WithHint("%s", strings.Join(hints, "\n"))
}
