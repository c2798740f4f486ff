package update

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"banger/internal/update/journal"
)

// TestDiffIsThatOfDiff compares with diff(1), if it is installed. It leaves a count of one
// line out, which our library writes, and joins hunks with six equal lines between them,
// where our library joins those with five; patch(1) reads both.
func TestDiffIsThatOfDiff(t *testing.T) {
	program, err := exec.LookPath("diff")
	if err != nil {
		t.Skip("NOT RUN: diff(1) is not installed")
	}
	many := func(change map[int]string) string {
		var b strings.Builder
		for i := range 40 {
			if text, changed := change[i]; !changed {
				b.WriteString(strings.Repeat("x", i+1) + "\n")
			} else {
				b.WriteString(text)
			}
		}
		return b.String()
	}
	body := func(unified string) string {
		_, after, _ := strings.Cut(unified, "\n+++ ")
		_, hunks, _ := strings.Cut(after, "\n")
		return strings.NewReplacer(",1 +", " +", ",1 @@", " @@").Replace(hunks)
	}
	same := many(nil)
	for name, to := range map[string]string{
		"nothing": same, "first line": many(map[int]string{0: "new\n"}), "last line": many(map[int]string{39: "new\n"}),
		"removed": many(map[int]string{7: ""}), "added": many(map[int]string{7: "a\nb\nxxxxxxxx\n"}),
		"two hunks": many(map[int]string{5: "new\n", 25: ""}), "one hunk": many(map[int]string{5: "new\n", 11: ""}),
		"all": "other\n", "emptied": "", "no end of line": strings.TrimSuffix(same, "\n"),
	} {
		dir := t.TempDir()
		a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
		if err := errors.Join(os.WriteFile(a, []byte(same), 0o600), os.WriteFile(b, []byte(to), 0o600)); err != nil {
			t.Fatal(err)
		}
		out, _ := exec.Command(program, "-U3", a, b).Output() // status 1 where they differ
		got, want := body(Diff([]journal.Content{{Path: a, Before: &same, After: &to}})), body(string(out))
		if got != want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
		}
	}
}
