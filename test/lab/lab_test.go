package lab

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"banger/test/lab/host"
)

func TestDiff(t *testing.T) {
	for _, c := range []struct{ name, before, after, want string }{
		{"the same", "a\nb\n", "a\nb", ""},
		{"another order", "a\nb\n", "b\na\n", ""},
		{"more", "a\n", "a\nb\n", "+ b"},
		{"less", "a\nb\n", "b\n", "- a"},
		{"twice", "a\n", "a\na\n", "+ a"},
		{"changed", "ip_forward 0\nx\n", "ip_forward 1\nx\n", "- ip_forward 0\n+ ip_forward 1"},
	} {
		if got := diff(c.before, c.after); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// TestNames: a name is said once, and can be a file's.
func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range Scenarios {
		if seen[s.Name] {
			t.Errorf("%s is there twice", s.Name)
		}
		seen[s.Name] = true
		for _, c := range s.Name {
			if c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
				t.Errorf("%s is not made of a-z, 0-9 and dashes", s.Name)
				break
			}
		}
		if s.Run == nil {
			t.Errorf("%s does nothing", s.Name)
		}
	}
}

func TestWordsSelect(t *testing.T) {
	for _, c := range []struct {
		words []string
		first string
		all   bool
	}{
		{nil, Scenarios[0].Name, true},
		{[]string{"restart"}, "restart-helper", false},
		{[]string{"install", "restart"}, "restart-helper", false},
		{[]string{"nonesuch"}, "", false},
	} {
		chosen := Suite{Words: c.words}.chosen()
		first := ""
		if len(chosen) > 0 {
			first = chosen[0].Name
		}
		if first != c.first || (len(chosen) == len(Scenarios)) != c.all {
			t.Errorf("%v selects %d scenarios from %q on", c.words, len(chosen), first)
		}
	}
}

// TestNeedsVersions: runs without an update build no versions.
func TestNeedsVersions(t *testing.T) {
	for word, want := range map[string]bool{"update": true, "update-good": true, "restart": false, "nonesuch": false} {
		if got := (Suite{Words: []string{word}}).NeedsVersions(); got != want {
			t.Errorf("%s: %v", word, got)
		}
	}
}

// TestAttempt: a scenario that finds something wrong ends with what it said.
func TestAttempt(t *testing.T) {
	c := &checks{}
	err := attempt(func() { c.Equal("the state", "running", "stopped"); t.Error("it went on") })
	if err == nil || err.Error() != "the state is running, not stopped" {
		t.Errorf("got %v", err)
	}
	if err := attempt(func() {}); err != nil {
		t.Error(err)
	}
}

// TestNoLab: commands in a directory without a lab say what to type.
func TestNoLab(t *testing.T) {
	if _, err := host.Open(t.TempDir()); err == nil {
		t.Error("found a lab")
	}
}

// TestPoints: what an earlier try has passed is not done again.
func TestPoints(t *testing.T) {
	c := &checks{passed: map[string]bool{}}
	points := []string{"a", "b", "c"}
	var did []string
	failing := true
	try := func() error {
		return attempt(func() {
			c.Points(points, func(p string) {
				did = append(did, p)
				if p == "b" && failing {
					failing = false
					c.Failf("a fault")
				}
			})
		})
	}
	if err := try(); err == nil {
		t.Error("the first try did not fail")
	}
	if err := try(); err != nil {
		t.Error(err)
	}
	if got := strings.Join(did, " "); got != "a b b c" {
		t.Errorf("did %s", got)
	}
}

// TestUnitsOfScenarios: what a try that broke off has left is stopped by its name before the next
// try, which would not start otherwise.
func TestUnitsOfScenarios(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	found := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`systemd-run [^"]*--unit=(\S+)`).FindAllSubmatch(text, -1) {
			found++
			if name := string(m[1]); name != "%s" && !strings.HasPrefix(name, "scenario-") {
				t.Errorf("%s starts the unit %s: its name has to begin with scenario-", file, name)
			}
		}
	}
	if found < 5 {
		t.Errorf("%d units found", found)
	}
}
