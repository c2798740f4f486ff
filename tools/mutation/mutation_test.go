package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const result = `{"files":[{"file_name":"a.go","mutations":[
	{"type":"INVERT_LOGICAL","status":"LIVED","line":2,"column":7},
	{"type":"INVERT_LOGICAL","status":"LIVED","line":3,"column":7},
	{"type":"INVERT_BITWISE","status":"NOT COVERED","line":1,"column":3},
	{"type":"INVERT_BITWISE","status":"TIMED OUT","line":1,"column":3},
	{"type":"INVERT_BITWISE","status":"KILLED","line":1,"column":3}
]},{"file_name":"testdata/a.go","mutations":[{"type":"INVERT_LOGICAL","status":"LIVED","line":2,"column":7}]},
{"file_name":"below/a.go","mutations":[{"type":"INVERT_LOGICAL","status":"LIVED","line":2,"column":7}]}]}`

const source = "a | b\n\tif a && b\n\tif a && b\n"

func found(t *testing.T) []survivor {
	t.Helper()
	all, err := parseResult("internal/x", []byte(result))
	if err != nil || len(all) != 5 {
		t.Fatal(all, err)
	}
	s, err := survivors("internal/x", all, func(path string) ([]byte, error) {
		if path != "internal/x/a.go" {
			t.Errorf("read %s", path)
		}
		return []byte(source), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheListIsComparedBothWays(t *testing.T) {
	const twice = "\tinternal/x/a.go INVERT_LOGICAL 6: if a && b\n"
	const once = "\tinternal/x/a.go INVERT_BITWISE 3: a | b\n"
	for text, want := range map[string][]string{
		"Why.\n" + twice + twice + once:                   nil,
		"Why.\n" + twice + twice + "\nWhy else.\n" + once: nil,
		"Why.\n" + twice + once:                           {"no test detects"},
		"Why.\n" + twice + twice + once + once:            {"remove it from"},
		"":                                                {"no test detects", "no test detects", "no test detects"},
		"Why.\n" + twice + twice + strings.Replace(once, "3", "4", 1):            {"no test detects", "remove it from"},
		"Why.\n" + twice + twice + once + strings.Replace(once, "/x/", "/y/", 1): nil, // was not tested now
	} {
		list, err := parseList(text)
		if err != nil {
			t.Fatal(err)
		}
		wrong := compare(list.of("internal/x"), found(t))
		if len(wrong) != len(want) {
			t.Errorf("%s: %v", text, wrong)
			continue
		}
		for i, err := range wrong {
			if !strings.Contains(err.Error(), want[i]) {
				t.Errorf("%s: %v, want %s", text, err, want[i])
			}
		}
	}
}

func TestListsThatAreRefused(t *testing.T) {
	for _, text := range []string{
		"\tinternal/x/a.go INVERT_LOGICAL 6: if a\n", "Why.\n\n\tinternal/x/a.go INVERT_LOGICAL 6: if a\n",
		"Why.\n\tinternal/x/a.go INVERT_LOGICAL: if a\n", "Why.\n\tinternal/x/a.go INVERT_LOGICAL 6\n",
	} {
		if all, err := parseList(text); err == nil {
			t.Errorf("%q: %v", text, all)
		}
	}
}

func TestResultsThatAreRefused(t *testing.T) {
	for _, text := range []string{"", "{}", `{"files":[]}`} {
		if all, err := parseResult("x", []byte(text)); err == nil {
			t.Errorf("%q: %v", text, all)
		}
	}
	for _, m := range []mutant{{Status: "RUNNABLE", Line: 1}, {Status: "LIVED", Line: 0}, {Status: "LIVED", Line: 9}} {
		if all, err := survivors("x", []mutant{m}, func(string) ([]byte, error) { return []byte(source), nil }); err == nil {
			t.Errorf("%+v: %v", m, all)
		}
	}
}

// TestTheListIsReadable: each that is listed is in the code as it is now.
func TestTheListIsReadable(t *testing.T) {
	text, err := os.ReadFile("survivors.txt")
	if err != nil {
		t.Fatal(err)
	}
	all, err := parseList(string(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		code, err := os.ReadFile(filepath.Join("../..", s.file))
		if err != nil || !strings.Contains(string(code), "\t"+s.line+"\n") && !strings.Contains(string(code), "\n"+s.line+"\n") {
			t.Errorf("%s is not in the code: %v", s, err)
		}
	}
}

// TestTheCageHolds: what runs in it sees no process but its own, and writes nothing
// outside; the exit status is the program's.
func TestTheCageHolds(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root's mutants are caged")
	}
	const script = `set -e
		[ "$(ls -d /proc/[0-9]* | wc -l)" -lt 9 ]
		! touch /a-mutant-was-here 2>/dev/null
		touch "$TMPDIR/made"
		exit 7`
	temp := t.TempDir()
	cmd := cage(t.Context(), "/bin/sh", "-c", script)
	cmd.Env = append(os.Environ(), cagedEnv+"="+temp, "TMPDIR="+temp)
	out, err := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 7 {
		t.Errorf("exit status %d, %v: %s", code, err, out)
	}
	if _, err := os.Stat(filepath.Join(temp, "made")); err != nil {
		t.Error(err)
	}
}

func TestChange(t *testing.T) {
	for _, c := range []struct {
		kind   string
		column int
		source string
		want   string
	}{
		{"CONDITIONALS_BOUNDARY", 3, "a >= b\n", "a > b\n"},
		{"CONDITIONALS_NEGATION", 3, "a > b\n", "a <= b\n"},
		{"INVERT_BITWISE", 3, "a &^ b\n", "a & b\n"},
		{"INVERT_LOGICAL", 3, "a && b", "a || b"},
		{"INVERT_LOOPCTRL", 1, "break\n", "continue\n"},
		{"INVERT_LOGICAL", 1, "a && b", ""},
		{"REMOVE_SELF_ASSIGNMENTS", 3, "a &^= b", "a = b"},
		{"INVERT_ASSIGNMENTS", 3, "a -= b", "a += b"},
		{"INVERT_BWASSIGN", 3, "a &^= b", "a &= b"},
		{"UNKNOWN", 3, "a += b", ""},
		{"INVERT_LOGICAL", 9, "a && b", ""},
	} {
		got, err := change([]byte("x\n"+c.source), mutant{Type: c.kind, Line: 2, Column: c.column})
		if (err == nil) != (c.want != "") || err == nil && string(got) != "x\n"+c.want {
			t.Errorf("%s of %q: %q, %v", c.kind, c.source, got, err)
		}
	}
}

func TestMain(m *testing.M) {
	caged()
	os.Exit(m.Run())
}
