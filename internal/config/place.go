package config

import (
	"fmt"
	"slices"
	"strings"
)

// place is a table in the text of a config.toml, for errors that name a line.
type place struct {
	text string
	path []string // of the table
	nth  int      // of tables with the same path, from 0
}

func (p place) in(name string) place {
	return place{text: p.text, path: append(slices.Clone(p.path), name)}
}

// name returns the table's path as in the file.
func (p place) name() string {
	var parts []string
	for _, part := range p.path {
		if strings.Trim(part, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" {
			part = fmt.Sprintf("%.80q", part)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ".")
}

func (p place) header() string {
	if p.path[0] == fileSync {
		return "[[" + p.name() + "]]"
	}
	return "[" + p.name() + "]"
}

// errorf returns an error with the line of a key of the table, or of its header.
func (p place) errorf(key, format string, args ...any) error {
	return fmt.Errorf("line %d: %w", p.line(key), fmt.Errorf(format, args...))
}

// line finds a line, which the toml package does not report: that of the key, otherwise that of
// the table's header, otherwise the first one that begins with the table's name.
func (p place) line(key string) int {
	var now []string // the path of the table that a line is in
	seen, head, first := -1, 0, 0
	for i, line := range strings.Split(p.text, "\n") {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			now = keyParts(strings.Trim(strings.SplitN(line, "#", 2)[0], "[] \t"))
			if slices.Equal(now, p.path) {
				seen++
			}
			if seen == p.nth && head == 0 {
				head = i + 1
			}
			continue
		}
		left, _, assigned := strings.Cut(line, "=")
		if !assigned {
			continue
		}
		full := append(slices.Clone(now), keyParts(left)...)
		if key != "" && max(seen, 0) == p.nth && slices.Equal(full, append(slices.Clone(p.path), key)) {
			return i + 1
		}
		if first == 0 && full[0] == p.path[0] {
			first = i + 1
		}
	}
	return max(1, first*btoi(head == 0), head)
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// keyParts splits a dotted key of TOML, whose parts may be quoted.
func keyParts(text string) []string {
	parts, quote := []string{""}, rune(0)
	for _, r := range strings.TrimSpace(text) {
		last := len(parts) - 1
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			parts[last] += string(r)
		case r == '"' || r == '\'':
			quote = r
		case r == '.':
			parts = append(parts, "")
		case r != ' ' && r != '\t':
			parts[last] += string(r)
		}
	}
	return parts
}
