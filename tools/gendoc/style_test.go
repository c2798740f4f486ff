package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// mostLines is how long README may be: a newcomer reads it whole.
const mostLines = 130

// TestReadme: it is short, and has the two commands on lines of their own, which people and
// .ci/run type.
func TestReadme(t *testing.T) {
	data, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	if lines := strings.Count(page, "\n"); lines > mostLines {
		t.Errorf("README.md has %d lines, more than %d: the tour is docs/tour.md", lines, mostLines)
	}
	for _, command := range []string{"make run", "make test"} {
		if !regexp.MustCompile(`(?m)^    ` + command + `\b`).MatchString(page) {
			t.Errorf("README.md does not have the line: %s", command)
		}
	}
}

var (
	// odd are words that docs/style.md has better ones for. "There is no" is English.
	odd = regexp.MustCompile(`(?i)\banew\b|\b(goes|go|went) on\b|\bby (itself|themselves)\b|\bis no [a-z]+|\bheed`)
	// quoted are words of programs, which a page only cites.
	quoted = regexp.MustCompile("(?s)`[^`\n]*`|(?m)^ {4}.*$")
)

// TestStyle looks for such words in the pages that people write.
func TestStyle(t *testing.T) {
	const top = "../.."
	for _, page := range pagesBelow(t, top) {
		dir := filepath.ToSlash(filepath.Dir(page))
		if page == "docs/style.md" || dir == "docs/cli" || dir == "docs/bench" || page == "docs/bench.md" {
			continue
		}
		prose := quoted.ReplaceAllString(text(t, filepath.Join(top, page)), "")
		prose = strings.ReplaceAll(strings.ReplaceAll(prose, "there is no", ""), "There is no", "")
		for _, found := range odd.FindAllString(prose, -1) {
			t.Errorf("%s says %q: docs/style.md has a better word", page, found)
		}
	}
}
