package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"banger/api"
)

// shown runs reports at the given moments through a progress and returns what
// it wrote.
func shown(live bool, columns int, reports map[time.Duration]api.Progress, order ...time.Duration) string {
	var errs bytes.Buffer
	a := newApp(nil, nil, &errs, func(string) string { return "" })
	p := a.std.newProgress()
	at := then
	p.live, p.width, p.now, p.began = live, func() int { return columns }, func() time.Time { return at }, then
	for _, d := range order {
		at = then.Add(d)
		p.report(reports[d])
	}
	p.done()
	return errs.String()
}

const mib = 1 << 20

var download = map[time.Duration]api.Progress{
	100 * time.Millisecond: {Step: "kernel", Message: "reading package lists"},
	1 * time.Second:        {Step: "kernel", Message: "downloading", Done: 0, Total: 30 * mib, Unit: "bytes"},
	2 * time.Second:        {Step: "kernel", Message: "downloading", Done: 10 * mib, Total: 30 * mib, Unit: "bytes"},
	15 * time.Second:       {Step: "kernel", Message: "downloading", Done: 28 * mib, Total: 30 * mib, Unit: "bytes"},
	16 * time.Second:       {Step: "image", Message: "installing \x1b[31mpackages", Done: 40, Total: 100, Unit: "percent"},
}

func TestProgressOnATerminal(t *testing.T) {
	got := shown(true, 100, download, 100*time.Millisecond, 1*time.Second, 2*time.Second, 16*time.Second)
	want := "\r\x1b[Kdownloading  [....................]  0 B of 30 MiB" +
		"\r\x1b[Kdownloading  [######..............]  10 MiB of 30 MiB, 5.3 MiB/s, 4s left" +
		"\r\x1b[Kinstalling ?[31mpackages  [########............]  40%" +
		"\r\x1b[K"
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestProgressFitsTheTerminal(t *testing.T) {
	for _, columns := range []int{1, 2, 10, 30, 40, 60} {
		for _, line := range strings.Split(shown(true, columns, download, 1*time.Second, 2*time.Second, 16*time.Second), "\r\x1b[K") {
			if len([]rune(line)) >= max(columns, 1) && line != "" {
				t.Errorf("%d columns: %q", columns, line)
			}
		}
	}
}

func TestProgressElsewhereIsAFewLines(t *testing.T) {
	got := shown(false, 80, download, 100*time.Millisecond, 1*time.Second, 2*time.Second, 15*time.Second, 16*time.Second)
	want := "banger: downloading  0 B of 30 MiB\n" +
		"banger: downloading  28 MiB of 30 MiB\n" +
		"banger: installing ?[31mpackages  40%\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestQuickWorkSaysNothing(t *testing.T) {
	for _, live := range []bool{true, false} {
		if got := shown(live, 80, download, 100*time.Millisecond); got != "" {
			t.Errorf("live %v: %q", live, got)
		}
	}
}

func TestNoteIsSaidOnceAndStays(t *testing.T) {
	reports := map[time.Duration]api.Progress{
		1: {Step: api.StepNote, Message: "no KVM"}, 2: {Step: api.StepNote, Message: "no KVM"},
	}
	if got := shown(false, 80, reports, 1, 2); got != "banger: no KVM\n" {
		t.Errorf("got %q", got)
	}
}
