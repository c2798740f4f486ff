package console

import (
	"strings"
	"unicode/utf8"
)

// Sanitize makes guest output safe for a terminal: control characters except newline
// and tab are shown in caret notation, C1 controls and invalid UTF-8 as "?". Carriage
// returns before a newline, which a serial console writes, are removed.
func Sanitize(s string) string {
	var out strings.Builder
	out.Grow(len(s))
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '\n' || r == '\t':
			out.WriteRune(r)
		case r == '\r' && endsLine(s[i:]):
		case r < 0x20:
			out.WriteByte('^')
			out.WriteRune(r + '@')
		case r == 0x7f:
			out.WriteString("^?")
		case r >= 0x80 && r < 0xa0, r == utf8.RuneError && n == 1, direction(r):
			out.WriteByte('?')
		default:
			out.WriteString(s[i : i+n])
		}
		i += n
	}
	return out.String()
}

// endsLine reports whether s is carriage returns up to a newline or the end.
func endsLine(s string) bool {
	rest := strings.TrimLeft(s, "\r")
	return rest == "" || rest[0] == '\n'
}

// direction reports whether r changes the direction of text, and so could disguise it
// (Unicode Standard Annex 9).
func direction(r rune) bool {
	return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}
