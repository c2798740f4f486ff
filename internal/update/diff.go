package update

import (
	"errors"
	"os"
	"strings"

	"banger/api"
	"banger/internal/update/journal"

	"github.com/rogpeppe/go-internal/diff"
)

// changes compares a version's files with those on disk.
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
		from, before := side(c.Path, c.Before)
		to, after := side(c.Path, c.After)
		// Its first line is a command line, which names /dev/null for a missing file.
		_, unified, _ := strings.Cut(string(diff.Diff(from, before, to, after)), "\n")
		b.WriteString(unified)
	}
	return b.String()
}

// side is what one side of a diff is called, and its content; nil for a missing file.
func side(path string, text *string) (string, []byte) {
	if text == nil {
		return os.DevNull, nil
	}
	return path, []byte(*text)
}
