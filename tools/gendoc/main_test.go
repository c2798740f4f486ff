package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestFresh compares what is checked in with what the commands say today.
func TestFresh(t *testing.T) {
	const fix = "run: go run ./tools/gendoc"
	fresh, kept := t.TempDir(), filepath.Join("..", "..", "docs")
	if err := generate(fresh); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"configuration.md", workspaceKeys, workspaceSchema} {
		want, err := os.ReadFile(filepath.Join(fresh, name))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(kept, name)); err != nil || string(got) != string(want) {
			t.Errorf("docs/%s is stale (%v); %s", name, err, fix)
		}
	}
	for _, kind := range []string{"cli", "man"} {
		want, got := read(t, filepath.Join(fresh, kind)), read(t, filepath.Join(kept, kind))
		for name, text := range want {
			if got[name] != text {
				t.Errorf("docs/%s/%s is stale; %s", kind, name, fix)
			}
		}
		for name := range got {
			if _, ok := want[name]; !ok {
				t.Errorf("docs/%s/%s is of no command; %s", kind, name, fix)
			}
		}
	}
}

func read(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		texts[e.Name()] = string(data)
	}
	return texts
}
