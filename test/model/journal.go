package model

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// allTracks stands for what happens to every track.
const allTracks = -1

// maxRecords bounds what a journal remembers, and what of it a failure shows.
const (
	maxRecords = 50_000
	maxShown   = 1_000
)

// journal remembers what clients asked for, what they were told, and what was done to
// banger, so that one failure is enough to find its cause.
type journal struct {
	mu      sync.Mutex
	records []record
}

type record struct {
	track        int // or allTracks
	began, ended time.Time
	text         string
}

func (j *journal) add(track int, began time.Time, text string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.records = append(j.records, record{track, began, time.Now(), text})
	j.records = j.records[max(0, len(j.records)-maxRecords):]
}

// wrong is an error of one track.
type wrong struct {
	track int
	error
}

func (e *wrong) Unwrap() error { return e.error }

// clockLayout is how a failure shows times: as the daemon's log has them, without the day.
const clockLayout = "15:04:05.000"

type line struct {
	at   time.Time
	text string
}

// since is what happened to a track, or to all, from a time on, each at the time at which it
// began, with what the daemon's log has.
func (j *journal) since(track int, from time.Time, log string) string {
	lines := logLines(log, from)
	j.mu.Lock()
	for _, r := range j.records {
		if r.ended.Before(from) || track != allTracks && r.track != allTracks && r.track != track {
			continue
		}
		lines = append(lines, line{r.began, fmt.Sprintf("%s to %s  %s", r.began.UTC().Format(clockLayout), r.ended.UTC().Format(clockLayout), r.text)})
	}
	j.mu.Unlock()
	slices.SortStableFunc(lines, func(a, b line) int { return a.at.Compare(b.at) })
	var b strings.Builder
	if more := len(lines) - maxShown; more > 0 {
		fmt.Fprintf(&b, "(%d lines before these)\n", more)
		lines = lines[more:]
	}
	for _, l := range lines {
		b.WriteString(l.text + "\n")
	}
	return b.String()
}

// logLines are the lines of a log of slog's text handler from a time on. What has no time
// belongs to the line before it.
func logLines(file string, from time.Time) (lines []line) {
	data, err := os.ReadFile(file)
	if err != nil {
		return []line{{from, err.Error()}}
	}
	at := time.Time{}
	for text := range strings.Lines(string(data)) {
		text = strings.Trim(text, "\n\x00")
		if stamp, rest, ok := strings.Cut(strings.TrimPrefix(text, "time="), " "); ok {
			if t, err := time.Parse(time.RFC3339, stamp); err == nil {
				at, text = t, t.UTC().Format(clockLayout)+" daemon: "+rest
			}
		}
		if !at.Before(from) {
			lines = append(lines, line{at, text})
		}
	}
	return lines
}
