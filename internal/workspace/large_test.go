package workspace_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/internal/workspace/worktest"
)

// TestHundredThousandFiles go into the guest, what changed comes back, and a pass of a sync sees
// the edits of both sides.
func TestHundredThousandFiles(t *testing.T) {
	if os.Getenv("BANGER_TEST_LONG") == "" {
		t.Skip("NOT RUN: 100,000 files, without BANGER_TEST_LONG=1")
	}
	const files = 100_000
	f := newFixture(t)
	// A pack, and not an object for each file.
	var in strings.Builder
	in.WriteString("commit refs/heads/many\ncommitter U <u@example.com> 1700000000 +0000\ndata 4\nmany\n")
	for n := range files {
		content := fmt.Sprintln(n)
		fmt.Fprintf(&in, "M 644 inline dir%d/file%d\ndata %d\n%s\n", n/100, n, len(content), content)
	}
	imported := command(f.top, "fast-import", "--quiet")
	imported.Stdin = strings.NewReader(in.String())
	if out, err := imported.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	f.git("checkout", "-q", "many")
	if err := f.ship(); err != nil {
		t.Fatal(err)
	}
	s := syncedOf(f)
	if last, err := os.ReadFile(filepath.Join(s.dir, "dir999/file99999")); err != nil || string(last) != "99999\n" {
		t.Fatalf("the guest has %q, %v", last, err)
	}
	worktest.Write(t, s.dir, "dir5/file555", "guest\n")
	if got := f.collect(); got != "M dir5/file555\n" {
		t.Errorf("what came back: %q", got)
	}
	worktest.Write(t, f.top, "dir7/file777", "host\n")
	s.want("a pass", s.sync(""), "> dir7/file777", "< dir5/file555")
	s.want("another", s.sync(""))
}
