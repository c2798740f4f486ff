// Package ci holds .ci/run, the gate, to its word: each part is run, none that fails is
// forgotten, and the counts of all parts stand in the last line.
package ci

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// run plays .ci/run in a directory of its own, where make is a shell script: what is
// tested is what .ci/run makes of what its parts print and return.
func run(t *testing.T, script string, parts ...string) (lines []string, status int) {
	t.Helper()
	gate, err := os.ReadFile("../../.ci/run")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for path, text := range map[string]string{".ci/run": string(gate), "bin/make": "#!/bin/sh\n" + script} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, ".ci/run"), parts...)
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if exit := (&exec.ExitError{}); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	t.Logf("%s", out)
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n"), cmd.ProcessState.ExitCode()
}

func TestTheCountsOfAllPartsAreTheLastLine(t *testing.T) {
	lines, status := run(t, `case $1 in
check) echo 1 passed, 0 failed, 2 skipped; echo 10 passed, 0 failed, 0 skipped ;;
test) echo 100 passed, 0 failed, 20 skipped ;;
lab) echo 1000 passed, 0 failed, 0 skipped, 3 not run ;;
esac`, "check", "test", "run", "lab")
	if last := lines[len(lines)-1]; last != "1111 passed, 0 failed, 22 skipped" || status != 0 {
		t.Errorf("status %d, last line %q", status, last)
	}
}

func TestAPartThatFailsFailsTheRunAndTheOthersRun(t *testing.T) {
	lines, status := run(t, `case $1 in
check) exit 1 ;;
test) echo 7 passed, 1 failed, 0 skipped; exit 2 ;;
lab) echo 1 passed, 0 failed, 0 skipped ;;
esac`, "check", "run", "test", "lab")
	want := []string{"FAILED: check test", "8 passed, 1 failed, 0 skipped"}
	if got := lines[len(lines)-2:]; got[0] != want[0] || got[1] != want[1] || status != 1 {
		t.Errorf("status %d, last lines %q, want %q", status, got, want)
	}
}

func TestAPartThatDoesNotExistIsRefusedBeforeAnyRuns(t *testing.T) {
	lines, status := run(t, "echo make ran", "run", "tests")
	want := ".ci/run: no part named tests; the parts are: install check user run test lab"
	if len(lines) != 1 || lines[0] != want || status != 2 {
		t.Errorf("status %d, %q, want %q", status, lines, want)
	}
}
