package console

import (
	"strings"
	"testing"
)

// TestTerminalWriter: colours come through and nothing else does, however the bytes
// are cut.
func TestTerminalWriter(t *testing.T) {
	said := "\x1b[1;32mok\x1b[0m é\r\r\n\x1b]52;c;YQ==\a\x1b[2J\x1b[6n\xff\u202e\x1b[" + strings.Repeat("1", 40) + "m\r\nend\x1b["
	want := "\x1b[1;32mok\x1b[0m é\n^[]52;c;YQ==^G^[[2J^[[6n??^[[" + strings.Repeat("1", 40) + "m\nend^[[\x1b[m"
	for size := 1; size <= len(said); size++ {
		var got strings.Builder
		w := NewTerminalWriter(&got)
		for rest := said; rest != ""; {
			n := min(size, len(rest))
			if _, err := w.Write([]byte(rest[:n])); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := w.Close(); err != nil || got.String() != want {
			t.Errorf("pieces of %d: %v\n%q, want\n%q", size, err, got.String(), want)
		}
	}
	var plain strings.Builder
	w := NewTerminalWriter(&plain)
	if _, err := w.Write([]byte("no colour\n")); err != nil || plain.String() != "no colour\n" {
		t.Errorf("%q, %v", plain.String(), err)
	}
	if err := w.Close(); err != nil || plain.String() != "no colour\n" {
		t.Errorf("%q, %v", plain.String(), err)
	}
}
