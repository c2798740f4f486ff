package feature

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseID(t *testing.T) {
	for text, want := range map[string]string{
		"https://x.example/devcontainer-feature-a.tgz": "from a web address is not installed",
		"go": "it is not REGISTRY", "a/b": "it is not REGISTRY", "devcontainers/features/go": "it is not REGISTRY",
		"ghcr.io/go": "it is not REGISTRY", "ghcr.io/a/b@sha256:0": "NAME@sha256", "ghcr.io/a b/c": "NAME@sha256", "": "it is not REGISTRY",
		"/etc": "of this host", "../x": "in a directory of .devcontainer", "./../../x": "in a directory", "./": "in a directory", "./..": "in a directory",
		"./a\nb": "consists of", "./$(x)": "consists of",
	} {
		if id, err := ParseID(text, folder); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want %s", text, id, err, want)
		}
	}
	for text, want := range map[string][3]string{
		"GHCR.io/A/B":         {"ghcr.io/a/b", "latest", ""},
		"ghcr.io:80/a/b/c:1":  {"ghcr.io:80/a/b/c", "1", ""},
		"localhost/a/b:x":     {"localhost/a/b", "x", ""},
		"./a/b":               {"", "", ".devcontainer/a/b"},
		"../.devcontainer/a":  {"", "", ".devcontainer/a"},
		"ghcr.io/a/b@" + zero: {"ghcr.io/a/b", "", ""},
	} {
		id, err := ParseID(text, folder)
		if got := [3]string{id.resource, id.tag, id.local}; err != nil || got != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	if id, err := ParseID("./.devcontainer/a", "."); err != nil || id.local != ".devcontainer/a" {
		t.Errorf("%+v %v", id, err)
	}
}

var zero = "sha256:" + strings.Repeat("0", 64)

func TestVariables(t *testing.T) {
	for option, want := range map[string]string{"version": "VERSION", "a-b.c": "A_B_C", "1st": "_ST", "__x": "_X", "é": "_", "😀x": "_X", "9_9": "_"} {
		if got := variable(option); got != want {
			t.Errorf("%q: %s, want %s", option, got, want)
		}
	}
	m, err := parseMetadata([]byte(`{"id": "a", "options": {"x": {"default": "d", "enum": ["d", "e"]}, "flag": {"default": false}, "none": {"type": "string"}}}`), folder, false)
	if err != nil {
		t.Fatal(err)
	}
	for given, want := range map[string][]string{
		`{"x": "e", "flag": true, "own": 3}`: {"FLAG=true", "OWN=3", "X=e"},
		`{"x": "$(id) \"q\""}`:               {"FLAG=false", `X=$(id) "q"`},
		`"1.2"`:                              {"X=d", "FLAG=false"}, // it has no option version
	} {
		var v any
		if err := decode([]byte(given), &v); err != nil {
			t.Fatal(err)
		}
		o, err := ParseOptions(v)
		if err != nil {
			t.Fatal(err)
		}
		f := &Feature{Request: Request{Options: o}, Metadata: m}
		if diff := cmp.Diff(want, f.Variables()); diff != "" {
			t.Errorf("%s: %s", given, diff)
		}
		if unusual := f.Unusual(); (len(unusual) > 0) != strings.Contains(given, "id)") {
			t.Errorf("%s: %q", given, unusual)
		}
	}
	for _, bad := range []any{true, nil, []any{}, map[string]any{"a": []any{}}, map[string]any{"a": "\x00"}} {
		if _, err := ParseOptions(bad); err == nil {
			t.Errorf("%v is taken", bad)
		}
	}
}
