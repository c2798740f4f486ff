// Package tomlline finds the lines of values in a TOML document, which package toml reports for
// syntax errors alone. It knows strings of several lines, in which a script may look like TOML.
package tomlline

import (
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// maxDepth is how many parts a path may have. Package toml took 95 s for a dotted key of
// 60 KB on a 2-core machine: its time grows with the square of the depth.
const maxDepth = 16

// Index has the lines of a document's keys and of the items of its arrays.
type Index struct {
	lines map[string]int
	deep  int
}

// Deep returns the first line on which something is nested too deeply for package toml to be asked
// about a document of a stranger; 0: none.
func (x Index) Deep() int { return x.deep }

// Item is the part of a path that stands for item i, from 0, of an array.
func Item(i int) string { return "#" + strconv.Itoa(i) }

// Line returns the line on which a value is set, counted from 1. The parts of path are keys and
// Items. If the value is missing, it is the line of the nearest one around it.
func (x Index) Line(path ...string) int {
	for ; len(path) > 0; path = path[:len(path)-1] {
		if line, ok := x.lines[joined(path)]; ok {
			return line
		}
	}
	return 1
}

// joined is a path as a key of a map: no two paths give the same.
func joined(path []string) string {
	var b strings.Builder
	for _, part := range path {
		b.WriteString(strconv.Quote(part))
	}
	return b.String()
}

// Of indexes a document that package toml accepts. In any other, it stops at what it cannot read.
func Of(text string) Index {
	s := scanner{text: text, line: 1, index: Index{lines: map[string]int{}}, tables: map[string]int{}}
	for s.blank(); s.at < len(s.text); s.blank() {
		from := s.at
		if s.peek() == '[' {
			s.header()
		} else {
			s.assignment(s.now)
		}
		if s.at == from { // not TOML
			break
		}
	}
	return s.index
}

// scanner reads a document from at on.
type scanner struct {
	text     string
	at, line int
	index    Index
	now      []string       // the path of the table that a line belongs to
	tables   map[string]int // how many tables an array of tables has so far
}

func (s *scanner) peek() byte {
	if s.at < len(s.text) {
		return s.text[s.at]
	}
	return 0
}

// skip moves on by n bytes.
func (s *scanner) skip(n int) {
	n = min(n, len(s.text)-s.at)
	s.line += strings.Count(s.text[s.at:s.at+n], "\n")
	s.at += n
}

// to moves to the first of some characters, or to the end.
func (s *scanner) to(characters string) {
	n := strings.IndexAny(s.text[s.at:], characters)
	if n < 0 {
		n = len(s.text)
	}
	s.skip(n)
}

// blank skips spaces, ends of lines and comments.
func (s *scanner) blank() {
	for s.at < len(s.text) {
		switch s.peek() {
		case ' ', '\t', '\r', '\n':
			s.skip(1)
		case '#':
			s.to("\n")
		default:
			return
		}
	}
}

// tooDeep ends the reading if a path is too long.
func (s *scanner) tooDeep(path []string) bool {
	if len(path) > maxDepth {
		s.index.deep = s.line
		s.at = len(s.text)
	}
	return len(path) > maxDepth
}

// record notes the current line for a path, and for those around it that have none.
func (s *scanner) record(path []string, line int) {
	for n := len(path); n > 0; n-- {
		if _, known := s.index.lines[joined(path[:n])]; known {
			return
		}
		s.index.lines[joined(path[:n])] = line
	}
}

// header reads [a.b] or [[a.b]].
func (s *scanner) header() {
	line, array := s.line, strings.HasPrefix(s.text[s.at:], "[[")
	s.skip(1)
	if array {
		s.skip(1)
	}
	var path []string
	parts := s.key()
	if s.tooDeep(parts) {
		return
	}
	for i, part := range parts {
		path = append(path, part)
		count, isArray := s.tables[joined(path)]
		switch {
		case array && i == len(parts)-1:
			s.tables[joined(path)]++
			path = append(path, Item(count))
		case isArray:
			path = append(path, Item(count-1))
		}
	}
	s.now = path
	s.record(path, line)
	s.to("\n")
}

// assignment reads KEY = VALUE in a table.
func (s *scanner) assignment(table []string) {
	line := s.line
	path := append(table[:len(table):len(table)], s.key()...)
	if s.tooDeep(path) || s.peek() != '=' {
		s.at = len(s.text)
		return
	}
	s.record(path, line)
	s.skip(1)
	s.value(path)
}

// key reads the parts of a dotted key, and stops behind it.
func (s *scanner) key() []string {
	var parts []string
	for {
		s.spaces()
		from := s.at
		if c := s.peek(); c == '"' || c == '\'' {
			s.quoted()
			parts = append(parts, unquoted(s.text[from:s.at]))
		} else {
			s.to(" \t.=]\r\n,}")
			parts = append(parts, s.text[from:s.at])
		}
		if s.spaces(); s.peek() != '.' || len(parts) > maxDepth {
			return parts
		}
		s.skip(1)
	}
}

func (s *scanner) spaces() {
	for s.peek() == ' ' || s.peek() == '\t' {
		s.skip(1)
	}
}

// unquoted returns what a quoted key means.
func unquoted(text string) string {
	var v struct{ X string }
	if _, err := toml.Decode("x="+text, &v); err != nil {
		return text
	}
	return v.X
}

// value skips a value, and records what is in it.
func (s *scanner) value(path []string) {
	s.spaces()
	switch s.peek() {
	case '"', '\'':
		s.quoted()
	case '[':
		s.skip(1)
		s.items(']', func(i int) {
			if item := append(path[:len(path):len(path)], Item(i)); !s.tooDeep(item) {
				s.record(item, s.line)
				s.value(item)
			}
		})
	case '{':
		s.skip(1)
		s.items('}', func(int) { s.assignment(path) })
	default:
		s.to(",]}#\r\n")
	}
}

// items reads up to the end of an array or an inline table.
func (s *scanner) items(end byte, item func(i int)) {
	for i := 0; s.at < len(s.text); i++ {
		if s.blank(); s.peek() == end {
			break
		}
		from := s.at
		item(i)
		if s.blank(); s.peek() == ',' {
			s.skip(1)
		} else if s.peek() != end || s.at == from {
			s.at = len(s.text) // not TOML
		}
	}
	s.skip(1)
}

// quoted skips a string of any of the four kinds.
func (s *scanner) quoted() {
	quote := s.text[s.at : s.at+1]
	if three := strings.Repeat(quote, 3); strings.HasPrefix(s.text[s.at:], three) {
		s.skip(3)
		s.until(three)
		for range 2 { // the last quotes may belong to the text: """a""""" is a""
			if strings.HasPrefix(s.text[s.at:], quote) {
				s.skip(1)
			}
		}
		return
	}
	s.skip(1)
	s.until(quote)
}

// until skips to the end of a string, which end marks.
func (s *scanner) until(end string) {
	for s.at < len(s.text) {
		switch {
		case strings.HasPrefix(s.text[s.at:], end):
			s.skip(len(end))
			return
		case end[0] == '"' && s.peek() == '\\':
			s.skip(2)
		default:
			s.skip(1)
		}
	}
}
