package programs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"banger/api"
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
			got, err := Programs{}.Migrations(t.Context(), script(t, "bangerd", c.script))
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
	if got, err := (Programs{}).Version(t.Context(), dir); err != nil || got != "v1.2.3" {
		t.Errorf("%q, %v", got, err)
	}
	for name, text := range map[string]string{"says nothing": "exit 0", "fails": `echo "` + line + `"; exit 1`} {
		if _, err := (Programs{}).Version(t.Context(), script(t, "banger", text)); api.KindOf(err) != api.KindUnsupported {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := (Programs{}).Version(t.Context(), t.TempDir()); err == nil {
		t.Error("no program has a version")
	}
}

// TestWhatTheOwnerRunsKnowsNothingOfRoot: the environment of a program is readable to
// whoever it runs as, and its terminal can be written to.
func TestWhatTheOwnerRunsKnowsNothingOfRoot(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://root:secret@proxy")
	dir := script(t, "bangerd", `env >&2; [ "$(cut -d " " -f 6 /proc/$$/stat)" = $$ ] || echo "in a session of ours" >&2; exit 2`)
	s, err := Programs{System: true, Env: []string{"HOME=/home/alice"}}.Migrations(t.Context(), dir)
	if err != nil || strings.Contains(s.Cannot, "secret") || strings.Contains(s.Cannot, "of ours") || !strings.Contains(s.Cannot, "HOME=/home/alice") {
		t.Errorf("%q, %v", s.Cannot, err)
	}
	// Our own installation's programs are as we are.
	s, err = Programs{}.Migrations(t.Context(), script(t, "bangerd", `echo "$HTTPS_PROXY" >&2; exit 2`))
	if err != nil || !strings.Contains(s.Cannot, "secret") {
		t.Errorf("%q, %v", s.Cannot, err)
	}
}

// TestTheOwnerDoesNotSayTheVersion: the program is root's, and is asked as root: the
// owner, who may trace what runs as him, cannot make it fail.
func TestTheOwnerDoesNotSayTheVersion(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: only root runs programs as somebody else")
	}
	dir := script(t, "banger", `echo "banger v0.0.$(id -u) (commit abc, go1.26, linux/amd64, protocol 1)"`)
	p := Programs{System: true, Owner: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if got, err := p.Version(t.Context(), dir); err != nil || got != "v0.0.0" {
		t.Errorf("%s, %v", got, err)
	}
}

func TestCommandsOfAProgram(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		want   []string
		fails  bool
	}{
		"one":                   {`[ "$*" = update-commands ] && echo '["banger"]'`, []string{"banger"}, false},
		"more":                  {`echo '["banger","git-remote-banger"]'`, []string{"banger", "git-remote-banger"}, false},
		"an older version":      {"echo 'unknown command' >&2; exit 2", nil, false},
		"another's name":        {`echo '["banger","ls"]'`, nil, true},
		"a path":                {`echo '["../banger"]'`, nil, true},
		"nothing":               {"", nil, true},
		"something else":        {"echo banger", nil, true},
		"more than that":        {`echo '["banger"] []'`, nil, true},
		"a failure":             {"exit 1", nil, true},
		"a failure with output": {`echo '["banger"]'; exit 3`, nil, true},
		"too much":              {"head -c 2000000 /dev/zero", nil, true},
	} {
		got, err := Programs{}.Commands(t.Context(), script(t, "banger", c.script))
		if !slices.Equal(got, c.want) || (err != nil) != c.fails {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if c.fails && err != nil && api.KindOf(err) != api.KindUnsupported {
			t.Errorf("%s: %v", name, err)
		}
	}
}
