package main

import "testing"

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
