package console

import (
	"errors"
	"io"
	"regexp"
	"unicode/utf8"
)

// colours are the allowed sequences in a terminal's text: those for its appearance
// (ECMA-48, SGR). They do not move the cursor or cause an answer, and are reset at the
// end.
var colours = regexp.MustCompile(`\x1b\[[0-9;:]{0,32}m`)

// unfinished matches the end of a text that may continue with the next bytes: a
// carriage return, or the start of a sequence.
var unfinished = regexp.MustCompile(`(\r+|\x1b(\[[0-9;:]{0,32})?)$`)

// TerminalWriter writes a guest's output to a terminal, made safe like by Sanitize but
// with its colours.
type TerminalWriter struct {
	w        io.Writer
	held     []byte // the start of a sequence
	coloured bool
}

// NewTerminalWriter returns a TerminalWriter. The caller must close it.
func NewTerminalWriter(w io.Writer) *TerminalWriter { return &TerminalWriter{w: w} }

// Write implements io.Writer.
func (t *TerminalWriter) Write(p []byte) (int, error) {
	text := append(t.held, p...)
	end := len(text) - tail(text)
	t.held = append([]byte(nil), text[end:]...)
	return len(p), t.put(text[:end])
}

// Close writes held bytes, and resets colours.
func (t *TerminalWriter) Close() error {
	err := t.put(t.held)
	t.held = nil
	if t.coloured {
		_, reset := io.WriteString(t.w, "\x1b[m")
		err = errors.Join(err, reset)
	}
	return err
}

func (t *TerminalWriter) put(text []byte) error {
	var clean []byte
	for len(text) > 0 {
		at := colours.FindIndex(text)
		if at == nil {
			at = []int{len(text), len(text)}
		}
		clean = append(clean, Sanitize(string(text[:at[0]]))...)
		clean = append(clean, text[at[0]:at[1]]...)
		t.coloured = t.coloured || at[0] < at[1]
		text = text[at[1]:]
	}
	_, err := t.w.Write(clean)
	return err
}

// tail returns how many bytes at the end of text depend on the next ones.
func tail(text []byte) int {
	if at := unfinished.FindIndex(text); at != nil {
		return len(text) - at[0]
	}
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if last := text[len(text)-n:]; utf8.RuneStart(last[0]) {
			if utf8.FullRune(last) {
				return 0
			}
			return n
		}
	}
	return 0
}
