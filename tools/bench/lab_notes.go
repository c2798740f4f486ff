package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
)

// The notes that a run makes itself. All others were written by hand.
const (
	noteNoTime = "there was no time left for: "
	noteNoBare = "Firecracker is missing here: no bare one was started"
	noteRounds = "only %d of %d rounds of lives fitted in the time"
)

// noteMark starts a line of the page that is a note.
const noteMark = "Note: "

var ownNote = regexp.MustCompile("^(" + noteNoTime + "|" + noteNoBare + "|" + strings.ReplaceAll(noteRounds, "%d", "[0-9]+") + ")")

// handNote is a note about a run that was written by hand. Later runs keep it.
type handNote struct {
	Run  string `json:"run"` // its start, as on the page
	Text string `json:"text"`
}

func (n handNote) String() string {
	return fmt.Sprintf("%sof the run of %s, by hand: %s.", noteMark, n.Run, n.Text)
}

// runTime is the format of a run's start on the page.
const runTime = "2006-01-02 15:04 UTC"

// keptNotes returns the notes by hand of earlier runs: those in the report's file, and
// those added to it or to the page since.
func keptNotes(report, page string) ([]handNote, error) {
	data, err := os.ReadFile(report)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var old labReport
	if err := json.Unmarshal(data, &old); err != nil {
		return nil, fmt.Errorf("cannot keep the notes in %s: %w", report, err)
	}
	text, err := os.ReadFile(page)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	notes := old.ByHand
	add := func(text string) {
		note := handNote{Run: old.When.UTC().Format(runTime), Text: strings.TrimSuffix(text, ".")}
		if !ownNote.MatchString(note.Text) && !slices.Contains(notes, note) {
			notes = append(notes, note)
		}
	}
	for _, text := range old.Notes {
		add(text)
	}
	for line := range strings.Lines(split(string(text))[labMark]) {
		note, found := strings.CutPrefix(strings.TrimSpace(line), noteMark)
		if found && !slices.ContainsFunc(notes, func(n handNote) bool { return n.String() == noteMark+note }) {
			add(note)
		}
	}
	return notes, nil
}
