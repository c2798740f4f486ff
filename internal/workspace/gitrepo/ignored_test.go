package gitrepo

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestIgnoredDirs: only directories of which git ignores all are left out of what is watched.
func TestIgnoredDirs(t *testing.T) {
	dir := t.TempDir()
	git(t, dir, "init", "-q")
	for name, text := range map[string]string{
		".gitignore":              "node_modules/\n/build\n*.log\nhalf/*\n!half/kept\n",
		"web/node_modules/a/b.js": "", "build/out": "", "src/build/main.go": "", "notes.log": "", "half/a": "", "half/kept": "",
		"with space\nand line/.gitignore": "*\n",
	} {
		name = filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(name), 0o755))
		must(t, os.WriteFile(name, []byte(text), 0o644))
	}
	r, err := Open(t.Context(), dir, t.TempDir())
	must(t, err)
	got, err := r.IgnoredDirs(t.Context())
	must(t, err)
	// node_modules at the top is none of this host's, but may be one of a guest's.
	want := []string{"/build", "/node_modules", "/web/node_modules", "/with space\nand line"}
	if !slices.Equal(got, want) {
		t.Errorf("ignored directories %q, want %q", got, want)
	}
}

func TestIgnoredDirsOfNothing(t *testing.T) {
	dir := t.TempDir()
	git(t, dir, "init", "-q")
	r, err := Open(t.Context(), dir, t.TempDir())
	must(t, err)
	if got, err := r.IgnoredDirs(t.Context()); err != nil || len(got) > 0 {
		t.Errorf("an empty repository ignores %q, %v", got, err)
	}
}
