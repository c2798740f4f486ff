package update

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"banger/api"
	"banger/internal/update/journal"
)

func TestParseVersionOutput(t *testing.T) {
	for out, want := range map[string]string{
		"banger v1.2.3 (commit 0123456789ab, go1.26.8, linux/amd64, protocol 1)\n":              "v1.2.3",
		"banger v1.2.3-rc.1 (commit 0123456789ab-dirty, go1.27rc1, linux/arm64, protocol 12)\n": "v1.2.3-rc.1",
		"":         "",
		"banger\n": "",
		"v1.2.3\n": "",
		"banger v1.2.3 (commit 0123456789ab, go1.26.8, linux/amd64, protocol 1)":                          "", // no end of line
		"banger v1.2.3 (commit 0123456789ab, go1.26.8, linux/amd64, protocol 1)\nbanger v1.2.4\n":         "",
		"\nbanger v1.2.3 (commit 0123456789ab, go1.26.8, linux/amd64, protocol 1)\n":                      "",
		"Banger v1.2.3 (commit 0123456789ab, go1.26.8, linux/amd64, protocol 1)\n":                        "",
		"banger v1.2 (commit 0123456789ab, go1.26.8, linux/amd64, protocol 1)\n":                          "",
		"banger dev (commit unknown, go1.26.8, linux/amd64, protocol 1)\n":                                "",
		"banger v1.2.3/../x (commit 0123456789ab, go1.26.8, linux/amd64, protocol 1)\n":                   "",
		"banger v1.2.3 (commit 0123456789ab, go1.26.8, plan9/amd64, protocol 1)\n":                        "",
		"banger v1.2.3 (commit , go1.26.8, linux/amd64, protocol 1)\n":                                    "",
		"banger v1.2.3 (commit 0123456789ab, go1.26.8, linux/amd64, protocol one)\n":                      "",
		"banger v1.2.3  (commit 0123456789ab, go1.26.8, linux/amd64, protocol 1)\n":                       "",
		"banger v1.2.3 (commit 0123456789ab, go1.26.8, linux/amd64, protocol 1)\r\n":                      "",
		"banger v1.2.3 (commit 0123456789ab\x00, go1.26.8, linux/amd64, protocol 1)\n":                    "",
		"banger v" + strings.Repeat("1", 100) + ".2.3 (commit a, go1.26.8, linux/amd64, protocol 1)\n":    "",
		strings.Repeat("banger v1.2.3 (commit 0123456789ab, go1.26.8, linux/amd64, protocol 1)\n", 10000): "",
	} {
		got, err := parseVersionOutput([]byte(out))
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%.90q: %q, %v", out, got, err)
		}
		if err != nil && len(err.Error()) > 1000 {
			t.Errorf("%.90q: the error has %d bytes", out, len(err.Error()))
		}
	}
}

func TestParseMigrations(t *testing.T) {
	for out, want := range map[string]Schema{
		"schema 1, known 1\n":              {Have: 1, Known: 1},
		"schema 1, known 12\n":             {Have: 1, Known: 12},
		"schema 2, known 1\n":              {},
		"schema 1, known 1":                {},
		"schema 1, known 1\nmore\n":        {},
		"schema -1, known 1\n":             {},
		"schema 1, known 99999999999999\n": {},
		"":                                 {},
	} {
		got, err := parseMigrations([]byte(out))
		if got != want || (err == nil) != (want != Schema{}) {
			t.Errorf("%q: %+v, %v", out, got, err)
		}
	}
}

// script makes a directory with a program that is a shell script.
func script(t *testing.T, name, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestMigrationsOfAProgram(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		want   Schema
		fails  bool
	}{
		"the same":         {`echo "schema 1, known 1"`, Schema{Have: 1, Known: 1}, false},
		"will migrate":     {`echo "schema 1, known 2"; exit 1`, Schema{Have: 1, Known: 2}, false},
		"cannot":           {`echo "it is newer" >&2; exit 2`, Schema{Cannot: "x"}, false},
		"status 1 and not": {`echo "schema 1, known 1"; exit 1`, Schema{}, true},
		"status 0 and so":  {`echo "schema 1, known 2"`, Schema{}, true},
		"another status":   {`echo "schema 1, known 1"; exit 3`, Schema{}, true},
		"a signal":         {`kill -9 $$`, Schema{}, true},
		"no end":           {`while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done`, Schema{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := programs{}.migrations(t.Context(), script(t, "bangerd", c.script))
			if c.want.Cannot != "" && strings.Contains(got.Cannot, "it is newer") {
				got.Cannot = c.want.Cannot
			}
			if (err != nil) != c.fails || err == nil && got != c.want {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

func TestVersionOfAProgram(t *testing.T) {
	const line = "banger v1.2.3 (commit abc, go1.26.8, linux/amd64, protocol 1)"
	dir := script(t, "banger", `[ "$*" = --version ] && echo "`+line+`"`)
	if got, err := (programs{}).version(t.Context(), dir); err != nil || got != "v1.2.3" {
		t.Errorf("%q, %v", got, err)
	}
	for name, text := range map[string]string{"says nothing": "exit 0", "fails": `echo "` + line + `"; exit 1`} {
		if _, err := (programs{}).version(t.Context(), script(t, "banger", text)); api.KindOf(err) != api.KindUnsupported {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := (programs{}).version(t.Context(), t.TempDir()); err == nil {
		t.Error("no program has a version")
	}
}

// TestWhatTheOwnerRunsKnowsNothingOfRoot: the environment of a program is readable to
// whoever it runs as, and its terminal can be written to.
func TestWhatTheOwnerRunsKnowsNothingOfRoot(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://root:secret@proxy")
	dir := script(t, "bangerd", `env >&2; [ "$(cut -d " " -f 6 /proc/$$/stat)" = $$ ] || echo "in a session of ours" >&2; exit 2`)
	s, err := programs{system: true, env: []string{"HOME=/home/alice"}}.migrations(t.Context(), dir)
	if err != nil || strings.Contains(s.Cannot, "secret") || strings.Contains(s.Cannot, "of ours") || !strings.Contains(s.Cannot, "HOME=/home/alice") {
		t.Errorf("%q, %v", s.Cannot, err)
	}
	// Our own installation's programs are as we are.
	s, err = programs{}.migrations(t.Context(), script(t, "bangerd", `echo "$HTTPS_PROXY" >&2; exit 2`))
	if err != nil || !strings.Contains(s.Cannot, "secret") {
		t.Errorf("%q, %v", s.Cannot, err)
	}
}

// TestDiffIsThatOfDiff compares with diff(1), where there is one. It leaves a count of one
// line out, which our library writes, and joins hunks with six equal lines between them,
// where our library joins those with five; patch(1) reads both.
func TestDiffIsThatOfDiff(t *testing.T) {
	program, err := exec.LookPath("diff")
	if err != nil {
		t.Skip("NOT RUN: there is no diff(1)")
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

func TestPrefix(t *testing.T) {
	base := t.TempDir()
	for _, v := range []string{"v1", "v2"} {
		if err := os.MkdirAll(filepath.Join(base, "versions", v), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("versions/v1", filepath.Join(base, "current")); err != nil {
		t.Fatal(err)
	}
	if got, err := Prefix(filepath.Join(base, "versions", "v1")); err != nil || got != base {
		t.Errorf("%q, %v", got, err)
	}
	for dir, hint := range map[string]string{
		filepath.Join(base, "versions", "v2"): "install.sh", "/home/x/banger/bin": "make build", "/usr/lib/banger": "package manager",
	} {
		if _, err := Prefix(dir); api.KindOf(err) != api.KindUnsupported || !strings.Contains(api.AsError(err).Hint, hint) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

// TestTheOwnerDoesNotSayTheVersion: the program is root's, and is asked as root: the
// owner, who may trace what runs as him, cannot make it fail.
func TestTheOwnerDoesNotSayTheVersion(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: only root runs programs as somebody else")
	}
	dir := script(t, "banger", `echo "banger v0.0.$(id -u) (commit abc, go1.26, linux/amd64, protocol 1)"`)
	p := programs{system: true, owner: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if got, err := p.version(t.Context(), dir); err != nil || got != "v0.0.0" {
		t.Errorf("%s, %v", got, err)
	}
}
