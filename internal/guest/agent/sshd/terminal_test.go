package sshd

import (
	"testing"

	"golang.org/x/sys/unix"
)

func FuzzModes(f *testing.F) {
	f.Add("\x01\x00\x00\x00\x03\x35\x00\x00\x00\x00\x00")
	f.Add("\x81\x00\x00\x96\x00\x80\x00")
	f.Fuzz(func(t *testing.T, text string) {
		modes := parseModes(text)
		if len(modes) > len(text)/5 {
			t.Errorf("%d modes of %d bytes", len(modes), len(text))
		}
		var state unix.Termios
		apply(&state, modes)
	})
}

func TestModes(t *testing.T) {
	state := unix.Termios{Lflag: unix.ECHO | unix.ICANON}
	// Interrupt by Ctrl-X, no suspend key, no echo, ISIG; then the end.
	apply(&state, parseModes("\x01\x00\x00\x00\x18\x0a\x00\x00\x00\xff\x35\x00\x00\x00\x00\x32\x00\x00\x00\x01\x00\x33\x00\x00\x00\x00"))
	if state.Cc[unix.VINTR] != 0x18 || state.Cc[unix.VSUSP] != 0 || state.Lflag != unix.ICANON|unix.ISIG {
		t.Errorf("%+v", state)
	}
}
