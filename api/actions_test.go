package api_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"banger/api"
)

var kindLiteral = regexp.MustCompile(`"((?:vm|image|kernel)\.[a-z]+)"`)

// kindsInUse finds the kinds of operations in the sources of the other packages.
func kindsInUse(t *testing.T) []string {
	t.Helper()
	var kinds []string
	err := filepath.WalkDir("../internal", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range kindLiteral.FindAllSubmatch(text, -1) {
			kinds = append(kinds, string(m[1]))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(kinds)
	kinds = slices.Compact(kinds)
	if len(kinds) < 15 {
		t.Fatalf("only these kinds were found: %q", kinds)
	}
	return kinds
}

// TestEveryKindHasAnAction: no kind of operation reaches a user as it is stored.
func TestEveryKindHasAnAction(t *testing.T) {
	unknown := api.ActionOf("vm.of-a-newer-version")
	for _, kind := range kindsInUse(t) {
		if api.ActionOf(kind) == unknown {
			t.Errorf("%s has no action", kind)
		}
	}
	for _, kind := range append(kindsInUse(t), "vm.of-a-newer-version", "") {
		a := api.ActionOf(kind)
		for _, text := range []string{a.Verb, a.Doing, a.Object, a.String(), a.Request()} {
			if text == "" || strings.ContainsAny(text, ".%") {
				t.Errorf("%s: %q", kind, text)
			}
		}
		if !strings.Contains(a.Doing, "ing") {
			t.Errorf("%s: %q is not an activity", kind, a.Doing)
		}
	}
}
