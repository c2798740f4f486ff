package apt

import (
	"iter"
	"strings"
)

// fields yields the fields of one stanza in deb822(5) format. Continuation
// lines are joined by newlines, without the space that marks them; comments
// are passed over.
func fields(stanza string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		var name, value string
		for line := range strings.Lines(stanza) {
			line = strings.TrimRight(line, "\n")
			switch {
			case strings.HasPrefix(line, "#"):
			case strings.HasPrefix(line, " "), strings.HasPrefix(line, "\t"):
				value += "\n" + line[1:]
			default:
				if name != "" && !yield(name, value) {
					return
				}
				name, value, _ = strings.Cut(line, ":")
				value = strings.TrimSpace(value)
			}
		}
		if name != "" {
			yield(name, value)
		}
	}
}
