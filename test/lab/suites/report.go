package suites

import (
	"regexp"
	"slices"
	"strings"
)

// Report is the result of a test program, from its output.
type Report struct {
	Passed  int      // tests that have no tests below them
	Failed  []string // their names
	Skipped []string // their names
	// NotRun are the lines in which tests report what they left out, and why.
	NotRun []string
	Output string // the output of failed tests
}

var (
	// switched names the test of the following lines (testing's -test.v).
	switched = regexp.MustCompile(`^=== (?:RUN|PAUSE|CONT|NAME) +(\S+)`)
	verdict  = regexp.MustCompile(`^ *--- (PASS|FAIL|SKIP): (\S+)`)
)

// Parse parses the output of a test program that ran with -test.v.
func Parse(out string) Report {
	var r Report
	said := map[string]*strings.Builder{}
	passed := map[string]bool{}
	now := ""
	for line := range strings.Lines(out) {
		if m := switched.FindStringSubmatch(line); m != nil {
			now = m[1]
			continue
		}
		if m := verdict.FindStringSubmatch(line); m != nil {
			now = m[2]
			switch m[1] {
			case "PASS":
				passed[now] = true
			case "FAIL":
				r.Failed = append(r.Failed, now)
			case "SKIP":
				r.Skipped = append(r.Skipped, now)
			}
			continue
		}
		if _, why, found := strings.Cut(line, "NOT RUN"); found {
			r.NotRun = append(r.NotRun, strings.Trim(why, ": \n"))
		}
		if said[now] == nil {
			said[now] = &strings.Builder{}
		}
		said[now].WriteString(line)
	}
	for name := range passed {
		if !hasBelow(name, passed) {
			r.Passed++
		}
	}
	slices.Sort(r.Failed)
	for _, name := range r.Failed {
		if text := said[name]; text != nil {
			r.Output += "--- FAIL: " + name + "\n" + text.String()
		}
	}
	return r
}

// hasBelow reports whether a test has subtests.
func hasBelow(name string, all map[string]bool) bool {
	for other := range all {
		if strings.HasPrefix(other, name+"/") {
			return true
		}
	}
	return false
}
