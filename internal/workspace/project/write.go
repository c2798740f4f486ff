package project

import (
	"bytes"
	"io"
	"strings"
	"unicode"
)

// Write writes c as a banger.toml, with comments above the keys that why has; those of "" are at
// the top. What Parse reads of it is c, if c came from Parse or Look.
func (c Config) Write(w io.Writer, why map[string][]string) error {
	var b bytes.Buffer
	comment(&b, why[""])
	for _, e := range keys() {
		lines := e.lines(c)
		if len(lines) == 0 {
			continue
		}
		if b.Len() > 0 && (len(why[e.name]) > 0 || e.block != nil) {
			b.WriteByte('\n')
		}
		comment(&b, why[e.name])
		b.WriteString(strings.Join(lines, "\n") + "\n")
	}
	_, err := w.Write(b.Bytes())
	return err
}

// lines returns an entry as in the file, or nothing.
func (e entry[T]) lines(from T) []string {
	if e.block != nil {
		return e.block(from)
	}
	if value := e.write(from); value != "" {
		return []string{e.name + " = " + value}
	}
	return nil
}

// writeTable returns the lines of a table, or nothing if it has no keys.
func writeTable[T any](header string, entries []entry[T], from T) []string {
	lines := []string{header}
	for _, e := range entries {
		lines = append(lines, e.lines(from)...)
	}
	if len(lines) == 1 {
		return nil
	}
	return lines
}

// comment writes comments, a line each. What they quote of a repository cannot end the line.
func comment(b *bytes.Buffer, texts []string) {
	for _, text := range texts {
		b.WriteString("# " + strings.Map(func(r rune) rune {
			if !unicode.IsPrint(r) {
				return '?'
			}
			return r
		}, text) + "\n")
	}
}
