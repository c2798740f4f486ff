package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPartsOfThePage: each part is written by a run of its own and keeps the others.
func TestPartsOfThePage(t *testing.T) {
	page := filepath.Join(t.TempDir(), "bench.md")
	for _, part := range []struct{ mark, text string }{
		{labMark, "# System mode\n"}, {"", "# Speed\n"}, {imagesMark, "# Images\n"}, {labMark, "# System mode, again\n"}, {"", "# Speed, again\n"},
	} {
		if err := writePart(page, part.mark, part.text); err != nil {
			t.Fatal(err)
		}
	}
	want := "# Speed, again\n\n" + imagesMark + "# Images\n\n" + labMark + "# System mode, again\n"
	if got, err := os.ReadFile(page); err != nil || string(got) != want {
		t.Errorf("%v\ngot  %q\nwant %q", err, got, want)
	}
}

func TestRatio(t *testing.T) {
	var a, b []float64
	for i := range 21 {
		a, b = append(a, 120*float64(i+1)), append(b, 100*float64(i+1))
	}
	if d := ratio(a, b); d.Medians != 1.2 || d.Low < 1.19 || d.High > 1.21 || d.verdict(1.3) != "reached" || d.verdict(1.1) != "**missed**" {
		t.Errorf("%+v", d)
	}
}

func TestImagesPageOfNothing(t *testing.T) {
	if text := (&imagesReport{}).markdown(machineLine{}); !strings.Contains(text, "# Images") {
		t.Errorf("no page: %q", text)
	}
}

// TestPeaks: a child's memory is seen.
func TestPeaks(t *testing.T) {
	cmd := exec.CommandContext(context.Background(), "sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	p := peaks{}
	p.look(os.Getpid())
	if p["bangerd"] < 1000 || p["jobs"] < 100 {
		t.Errorf("got %v", p)
	}
}
