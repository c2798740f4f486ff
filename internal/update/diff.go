package update

import (
	"errors"
	"os"
	"strings"

	"banger/api"
	"banger/internal/update/journal"
)

// changes compares files as a version wants them with those that are there.
func changes(files []File) ([]journal.Content, error) {
	var all []journal.Content
	for _, f := range files {
		now, err := os.ReadFile(f.Path)
		switch {
		case errors.Is(err, os.ErrNotExist):
			all = append(all, journal.Content{Path: f.Path, After: &f.Text})
		case err != nil:
			return nil, api.AsError(err)
		case string(now) != f.Text:
			before := string(now)
			all = append(all, journal.Content{Path: f.Path, Before: &before, After: &f.Text})
		}
	}
	return all, nil
}

// Diff renders changes as a unified diff.
func Diff(changed []journal.Content) string {
	var b strings.Builder
	for _, c := range changed {
		from, to := c.Path, c.Path
		if c.Before == nil {
			from = os.DevNull
		}
		if c.After == nil {
			to = os.DevNull
		}
		b.WriteString("--- " + from + "\n+++ " + to + "\n" + hunks(lines(c.Before), lines(c.After)))
	}
	return b.String()
}

func lines(text *string) []string {
	if text == nil || *text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(*text, "\n"), "\n")
}
