package project

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// quote returns text as a string of TOML: as it is if a reader sees every character of it, and
// otherwise with escapes, so that nothing is hidden in what somebody confirms.
func quote(text string) string {
	visible := !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' && r != '\t' })
	oneLine := !strings.ContainsAny(text, "\n\t")
	switch {
	case visible && oneLine && !strings.ContainsAny(text, `"\`):
		return `"` + text + `"`
	case visible && oneLine && !strings.Contains(text, "'"):
		return "'" + text + "'"
	case visible && !strings.Contains(text, "'''") && !strings.HasSuffix(text, "'"):
		if !oneLine {
			text = "\n" + text // the first end of a line does not count
		}
		return "'''" + text + "'''"
	}
	return escaped(text)
}

// escaped returns text as a basic string of TOML.
func escaped(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			fmt.Fprintf(&b, `\U%08X`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// quoteOr is quote, or nothing of an empty text.
func quoteOr(text string) string {
	if text == "" {
		return ""
	}
	return quote(text)
}

// quoteList returns texts as a list of TOML, or nothing of none.
func quoteList(texts []string) string {
	var items []string
	for _, text := range texts {
		items = append(items, quote(text))
	}
	return bracketed(items, ", ", "")
}

func bracketed(items []string, between, around string) string {
	if len(items) == 0 {
		return ""
	}
	return "[" + around + strings.Join(items, between) + strings.TrimRight(around, " ") + "]"
}

// shown returns text for a sentence: in quotes if it has anything but printable characters without
// spaces.
func shown(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' || r == '"' || r == ',' }) {
		return strconv.Quote(text)
	}
	return text
}
