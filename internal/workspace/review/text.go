package review

import (
	"bytes"
	"strconv"
	"unicode"
	"unicode/utf8"
)

func itoa(n int) string { return strconv.Itoa(n) }

// Printable makes text of a guest's safe to show on a terminal: control characters, which move
// the cursor or do worse, and characters that change the order of what is shown, become visible.
// Newlines and tabs stay, and a carriage return at the end of a line becomes ^M, as in git.
func Printable(text []byte) []byte {
	out := make([]byte, 0, len(text)+64)
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		switch {
		case r == '\n' || r == '\t':
			out = append(out, byte(r))
		case r < 0x20, r == 0x7f:
			out = append(out, '^', byte(r)^0x40)
		case r == utf8.RuneError && size == 1:
			out = append(out, `\x`+strconv.FormatUint(uint64(text[0]), 16)...)
		case unicode.Is(unicode.Cc, r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r):
			out = append(out, "<U+"...)
			out = append(out, bytes.ToUpper([]byte(strconv.FormatUint(uint64(r), 16)))...)
			out = append(out, '>')
		default:
			out = append(out, text[:size]...)
		}
		text = text[size:]
	}
	return out
}
