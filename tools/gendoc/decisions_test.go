package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// decision is how a record of a decision begins and is divided (docs/adr/README.md).
var decision = regexp.MustCompile(`(?s)\A# ([0-9]+)\. [^\n]+\n\nDate: ([0-9]{4}-[0-9]{2}-[0-9]{2})[^·\n]* · Status: (proposed|accepted|superseded by [^\n·]+)[^\n]*\n.*\n## Context\n.*\n## Decision\n.*\n## Consequences\n`)

// TestDecisions: each record has its parts, and the index has each record with its date and status.
func TestDecisions(t *testing.T) {
	const dir = "../../docs/adr"
	index := text(t, filepath.Join(dir, "README.md"))
	records, err := filepath.Glob(filepath.Join(dir, "[0-9]*.md"))
	if err != nil || len(records) < 20 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	for _, path := range records {
		name := filepath.Base(path)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		m := decision.FindStringSubmatch(string(data))
		if m == nil {
			t.Errorf("%s does not have a number, a date, a status, a context, a decision and consequences, in this order", name)
			continue
		}
		if strings.TrimLeft(name[:4], "0") != m[1] {
			t.Errorf("%s says that it is number %s", name, m[1])
		}
		if !regexp.MustCompile(`(?m)^\| ` + m[1] + ` \| \[[^\]]+\]\(` + regexp.QuoteMeta(name) + `\) \| ` + m[2] + ` \| ` + m[3] + ` \|$`).MatchString(index) {
			t.Errorf("docs/adr/README.md has no line for %s with its date and status", name)
		}
	}
}
