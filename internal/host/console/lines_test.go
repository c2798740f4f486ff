package console

import (
	"bytes"
	"strings"
	"testing"
)

// TestLineWriter: what a program has drawn over does not stay, however the bytes are cut.
func TestLineWriter(t *testing.T) {
	said := "plain\r\n(Reading 5%\r(Reading 100%\r(Reading done\nover\rwritten\r\r\n\n50%\r100%\r"
	want := "plain\n(Reading done\nwritten\n\n100%\r"
	for size := 1; size <= len(said); size++ {
		var got strings.Builder
		w := NewLineWriter(&got)
		for rest := said; rest != ""; {
			n := min(size, len(rest))
			if wrote, err := w.Write([]byte(rest[:n])); err != nil || wrote != n {
				t.Fatal(wrote, err)
			}
			rest = rest[n:]
		}
		if err := w.Close(); err != nil || got.String() != want {
			t.Errorf("pieces of %d: %v\n%q, want\n%q", size, err, got.String(), want)
		}
	}
}

// TestLineWriterHoldsLittle: a line without an end is written all the same.
func TestLineWriterHoldsLittle(t *testing.T) {
	var got bytes.Buffer
	w := NewLineWriter(&got)
	piece := bytes.Repeat([]byte("x"), 1000)
	for range 1000 {
		if _, err := w.Write(piece); err != nil {
			t.Fatal(err)
		}
	}
	if held := 1000*1000 - got.Len(); held >= longestLine {
		t.Errorf("%d bytes are held", held)
	}
	if err := w.Close(); err != nil || got.Len() != 1000*1000 {
		t.Errorf("%v, %d bytes", err, got.Len())
	}
}
