package cli

import (
	"fmt"
	"io"
	"strings"
)

// display prints text that replaces the text before: in place on a terminal, and below it elsewhere.
type display struct {
	std     *streams
	inPlace bool
	drawn   bool
}

// newDisplay returns a display on standard output. again reports whether there will be more than one text.
func (a *app) newDisplay(again bool) *display {
	_, tty := terminal(a.std.out)
	return &display{std: a.std, inPlace: again && tty && a.std.env("TERM") != "dumb"}
}

// The control sequences of terminals that are used (ECMA-48): to the first column of the first row, erase
// to the end of the line, erase to the end of the screen, hide and show the cursor.
const (
	toHome, eraseLine, eraseRest = "\x1b[H", "\x1b[K", "\x1b[J"
	hideCursor, showCursor       = "\x1b[?25l", "\x1b[?25h"
)

// draw prints a text of whole lines. What the terminal has no room for is left out, and counted.
func (s *display) draw(text string) error {
	if !s.inPlace {
		_, err := io.WriteString(s.std.out, text)
		return err
	}
	rows, columns := s.std.terminalSize()
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if most := max(1, int(rows)-2); len(lines) > most {
		lines = append(lines[:most:most], fmt.Sprintf("… and %d more", len(lines)-most))
	}
	var b strings.Builder
	if !s.drawn {
		b.WriteString(hideCursor)
	}
	b.WriteString(toHome)
	for _, line := range lines {
		b.WriteString(clip(line, int(columns)-1) + eraseLine + "\r\n")
	}
	b.WriteString(eraseRest)
	s.drawn = true
	_, err := io.WriteString(s.std.out, b.String())
	return err
}

// end leaves the terminal as it was, below the last text.
func (s *display) end() {
	if s.drawn {
		_, _ = io.WriteString(s.std.out, showCursor)
	}
}
