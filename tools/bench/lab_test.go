package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSplitMemory(t *testing.T) {
	const smaps = `7f0000000000-7f0010000000 rw-p 00000000 00:00 0
Size:             262144 kB
Rss:               91000 kB
7f0020000000-7f0020300000 r-xp 00000000 08:01 12 /firecracker
Size:               3072 kB
Rss:                1200 kB
7f0030000000-7f0030021000 rw-p 00000000 00:00 0
Size:                132 kB
Rss:                   8 kB
`
	if guest, beside := splitMemory(smaps, 262144); guest != 91000 || beside != 1208 {
		t.Errorf("%d and %d", guest, beside)
	}
}

func TestBenchLine(t *testing.T) {
	const out = "goos: linux\nBenchmarkAttach/ready-2   \t      50\t   2000123 ns/op\nBenchmarkJail   \t 50\t 900.5 ns/op\t 5 B/op\n"
	got := benchLine.FindAllStringSubmatch(out, -1)
	if len(got) != 2 || got[0][1] != "BenchmarkAttach/ready" || got[0][2] != "2000123" || got[1][2] != "900.5" {
		t.Errorf("%q", got)
	}
}

func TestLabPageOfNothing(t *testing.T) {
	r := labReport{Samples: map[string][]float64{}, KiB: map[string]int64{}, Unit: map[string]string{}}
	if r.markdown() == "" {
		t.Error("no page")
	}
}

// TestNotesByHandAreKept: what people wrote about a run, in its report or on its page,
// is there after each later run; what a run notes itself goes with it.
func TestNotesByHandAreKept(t *testing.T) {
	dir := t.TempDir()
	report, page := filepath.Join(dir, "bench-lab.json"), filepath.Join(dir, "bench.md")
	empty := func(notes ...string) labReport {
		return labReport{When: time.Date(2026, 11, 24, 15, 26, 0, 0, time.UTC), Notes: notes, Samples: map[string][]float64{}, KiB: map[string]int64{}, Unit: map[string]string{}}
	}
	run := func(r labReport) string {
		t.Helper()
		var err error
		if r.ByHand, err = keptNotes(report, page); err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(report, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := writePart(page, labMark, r.markdown()); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	text := run(empty("only 4 of 10 rounds of lives fitted in the time", "the machine was busy", noteNoBare))
	text = strings.Replace(text, "Note: the machine was busy.\n", "Note: the machine was busy.\n\nNote: a line on the page.\n", 1)
	if err := os.WriteFile(page, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		text = run(empty(noteNoTime + "restarts"))
	}
	for _, want := range []string{
		"Note: there was no time left for: restarts.\n",
		"Note: of the run of 2026-11-24 15:26 UTC, by hand: the machine was busy.\n",
		"Note: of the run of 2026-11-24 15:26 UTC, by hand: a line on the page.\n",
	} {
		if strings.Count(text, want) != 1 {
			t.Errorf("%q is there %d times:\n%s", want, strings.Count(text, want), text)
		}
	}
	if strings.Contains(text, "only 4 of 10") || strings.Contains(text, noteNoBare) || strings.Count(text, noteMark) != 3 {
		t.Errorf("a run's own notes are there after it:\n%s", text)
	}
}
