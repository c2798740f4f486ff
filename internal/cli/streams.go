package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"

	"banger/api"
	"banger/internal/host/console"

	"golang.org/x/term"
)

// streams are this process's standard streams and environment, and what may be printed on a
// terminal.
type streams struct {
	in       io.Reader
	out, err io.Writer
	env      func(string) string

	mu sync.Mutex // guards err, which progress and notes share
}

// note prints one line on standard error. The line may quote a daemon's answer, and
// root may be talking to another user's daemon: control characters are escaped.
func (s *streams) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintln(s.err, printable(fmt.Sprintf("banger: "+format, args...)))
}

// terminal returns the descriptor behind a reader or writer, if it is a
// terminal.
func terminal(v any) (*os.File, bool) {
	f, ok := v.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// colour reports whether w supports colours (no-color.org; TERM of terminfo(5)).
func (s *streams) colour(w io.Writer) bool {
	_, tty := terminal(w)
	return tty && s.env("NO_COLOR") == "" && cmp.Or(s.env("TERM"), "dumb") != "dumb"
}

// showGuestText copies text from a guest to standard error, in whole lines. Control characters
// never reach it, and of a progress that is drawn over and over only the last state does.
func (s *streams) showGuestText(from io.Reader) error {
	safe := console.NewTerminalWriter(lockedErr{s})
	lines := console.NewLineWriter(safe)
	_, err := io.Copy(lines, from)
	return errors.Join(err, lines.Close(), safe.Close())
}

// lockedErr is standard error for several writers.
type lockedErr struct{ s *streams }

func (l lockedErr) Write(p []byte) (int, error) {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	return l.s.err.Write(p)
}

// guestText returns a writer for text from a guest, and a function to call at its end.
// Control characters never reach a terminal.
func (s *streams) guestText() (w io.Writer, end func() error) {
	if _, tty := terminal(s.out); !tty {
		return s.out, func() error { return nil }
	}
	safe := console.NewTerminalWriter(s.out)
	return safe, safe.Close
}

// width is the number of columns of the terminal behind w.
func width(w io.Writer) int {
	if f, ok := terminal(w); ok {
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
			return columns
		}
	}
	return 80
}

// printable escapes control characters, which may come from a guest or a file.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 || unicode.Is(unicode.Bidi_Control, r) {
			return '?'
		}
		return r
	}, s)
}

// notes prints lines on standard error.
func (s *streams) notes(lines []string) {
	for _, line := range lines {
		s.note("%s", line)
	}
}

// step reports that a step begins.
func (s *streams) step(what string) { s.note("%s", what) }

// printError prints what failed and why, and what to type next.
func (s *streams) printError(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprint(s.err, renderError(err))
}

// interactive reports whether there is a terminal at both ends.
func (s *streams) interactive() bool {
	_, in := terminal(s.in)
	_, out := terminal(s.out)
	return in && out
}

// terminalSize returns the size of the terminal, which the guest's terminal mirrors.
func (s *streams) terminalSize() (rows, cols uint16) {
	for _, v := range []any{s.out, s.in} {
		if f, ok := terminal(v); ok {
			if w, h, err := term.GetSize(int(f.Fd())); err == nil && w > 0 && h > 0 {
				return uint16(min(h, 1<<16-1)), uint16(min(w, 1<<16-1))
			}
		}
	}
	return 24, 80
}

// raw makes the terminal pass every key to the guest. The returned function restores the
// terminal; it may be called more than once.
func (s *streams) raw(tty bool) (func(), error) {
	f, ok := terminal(s.in)
	if !tty || !ok {
		return func() {}, nil
	}
	state, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return nil, api.Errorf(api.KindInternal, "cannot set the terminal's mode: %w", err)
	}
	var once sync.Once
	return func() { once.Do(func() { _ = term.Restore(int(f.Fd()), state) }) }, nil
}

// questionTime bounds how long a question waits: nobody may be at the terminal.
const questionTime = time.Minute

// yes asks on a terminal. Without a terminal, or without an answer, the result is no.
func (s *streams) yes(ctx context.Context, question string) (bool, error) {
	_, in := terminal(s.in)
	_, out := terminal(s.err)
	if !in || !out {
		return false, nil
	}
	s.mu.Lock()
	fmt.Fprint(s.err, printable("banger: "+question+" [Y/n] "))
	s.mu.Unlock()
	answer := make(chan string, 1)
	go func() { // ends with the process if nobody answers
		line, err := bufio.NewReader(s.in).ReadString('\n')
		if err != nil {
			line = "no"
		}
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case line := <-answer:
		return line == "" || line == "y" || line == "yes", nil
	case <-time.After(questionTime):
		fmt.Fprintln(s.err)
		return false, nil
	case <-ctx.Done():
		fmt.Fprintln(s.err)
		return false, api.Errorf(api.KindCanceled, "cancelled")
	}
}
