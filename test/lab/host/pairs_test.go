package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakePair makes a folder with two programs that say what version they are.
func fakePair(t *testing.T, dir, name, firecracker, jailer string) {
	t.Helper()
	at := filepath.Join(dir, name)
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	for program, says := range map[string]string{"firecracker": firecracker, "jailer": jailer} {
		if says == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(at, program), fmt.Appendf(nil, "#!/bin/sh\necho '%s'\n", says), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPairs: the newest comes first, and each is called by what it says itself.
func TestPairs(t *testing.T) {
	dir := t.TempDir()
	fakePair(t, dir, "1.8.0", "Firecracker v1.8.0", "Jailer v1.8.0")
	fakePair(t, dir, "main", "Firecracker v1.17.0-dev", "Jailer v1.17.0-dev")
	fakePair(t, dir, "mixed", "Firecracker v1.14.2", "Jailer v1.0.0-44-gc73a27cb-dirty")
	elsewhere := t.TempDir()
	fakePair(t, elsewhere, "build", "Firecracker v1.9.0", "Jailer v1.9.0")
	err := errors.Join(os.Symlink(filepath.Join(elsewhere, "build"), filepath.Join(dir, "linked")), os.WriteFile(filepath.Join(dir, "README"), nil, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	pairs, err := Pairs(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range pairs {
		got = append(got, fmt.Sprintf("%s %t %s", p, p.Alike(), p.Dir()))
	}
	want := "firecracker 1.17.0-dev (main) true /lab/pairs/main\n" +
		"firecracker 1.14.2 with jailer 1.0.0-44-gc73a27cb-dirty false /lab/pairs/mixed\n" +
		"firecracker 1.9.0 (linked) true /lab/pairs/linked\n" +
		"firecracker 1.8.0 true /lab/pairs/1.8.0"
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
}

// TestBadPairs: a folder that lacks a program, or says nothing of use, is refused.
func TestBadPairs(t *testing.T) {
	for name, c := range map[string]struct{ folder, firecracker, jailer, want string }{
		"no jailer":   {"1.8.0", "Firecracker v1.8.0", "", "jailer"},
		"no version":  {"1.8.0", "Firecracker v1.8.0", "hello", "cannot determine the version of jailer"},
		"exchanged":   {"1.8.0", "Jailer v1.8.0", "Firecracker v1.8.0", "cannot determine the version of firecracker"},
		"a bad name":  {"a b", "Firecracker v1.8.0", "Jailer v1.8.0", "as the name of a Firecracker pair"},
		"no pair":     {"", "", "", "no Firecracker pair is"},
		"a bad start": {"-rf", "Firecracker v1.8.0", "Jailer v1.8.0", "as the name of a Firecracker pair"},
	} {
		dir := t.TempDir()
		if c.folder != "" {
			fakePair(t, dir, c.folder, c.firecracker, c.jailer)
		}
		if _, err := Pairs(t.Context(), dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPathPair: PATH has a pair where it has both programs.
func TestPathPair(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", filepath.Join(dir, "both")+":/usr/bin:/bin")
	if _, found, err := PathPair(t.Context()); found || err != nil {
		t.Errorf("found %t, %v where there is none", found, err)
	}
	fakePair(t, dir, "both", "Firecracker v1.16.1", "Jailer v1.16.1")
	pair, found, err := PathPair(t.Context())
	if !found || err != nil || pair.String() != "firecracker 1.16.1" || !pair.FromPath() {
		t.Errorf("%s, found %t, %v", pair, found, err)
	}
}

// TestPayloadHasPairs: what was named is in the payload, and else what PATH has.
func TestPayloadHasPairs(t *testing.T) {
	dir, path := t.TempDir(), t.TempDir()
	fakePair(t, dir, "1.8.0", "Firecracker v1.8.0", "Jailer v1.8.0")
	fakePair(t, path, "bin", "Firecracker v1.16.1", "Jailer v1.16.1")
	t.Setenv("PATH", filepath.Join(path, "bin")+":/usr/bin:/bin")
	pairs, err := Pairs(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		options Options
		want    string
	}{
		"pairs": {Options{Pairs: pairs}, "pairs/1.8.0/firecracker pairs/1.8.0/jailer"},
		"PATH":  {Options{}, "bin/firecracker bin/jailer"},
		"none":  {Options{Pairs: pairs, NoFirecracker: true}, ""},
	} {
		to := t.TempDir()
		if err := os.Mkdir(filepath.Join(to, "bin"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := addFirecracker(to, c.options); err != nil {
			t.Fatal(err)
		}
		found, err := filepath.Glob(filepath.Join(to, "bin", "*"))
		more, err2 := filepath.Glob(filepath.Join(to, "pairs", "*", "*"))
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		got := ""
		for _, f := range append(found, more...) {
			got += " " + strings.TrimPrefix(f, to+"/")
		}
		if strings.TrimSpace(got) != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
