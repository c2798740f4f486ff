package execx

import "strings"

// Word writes a word for a POSIX shell, as somebody would type it.
func Word(word string) string {
	special := func(c rune) bool { return c <= ' ' || c == 0x7f || strings.ContainsRune("\"'\\$`&|;<>()*?[]#~!{}", c) }
	if word != "" && !strings.ContainsFunc(word, special) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
