package cli

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestParseEnd(t *testing.T) {
	for text, want := range map[string]end{
		"dev:/root": {"dev", "/root"}, "./a:b": {"", "./a:b"}, "-": {"", "-"}, "file": {"", "file"},
		"dev:": {"dev", ""}, "/a:b": {"", "/a:b"}, "x:y:z": {"x", "y:z"},
	} {
		if got := parseEnd(text); got != want {
			t.Errorf("parseEnd(%q) = %+v; want %+v", text, got, want)
		}
	}
}

func TestCopyBothWays(t *testing.T) {
	w := newFixture(t)
	w.guest(t)
	dir := t.TempDir()
	notes := filepath.Join(dir, "notes")
	if err := os.WriteFile(notes, []byte("a\x00b"), 0o640); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{notes, "dev:/"}, {"dev:/notes", filepath.Join(dir, "back")}} {
		if out, errs, status := run("vm", "cp", args[0], args[1]); out != "" || errs != "" || status != 0 {
			t.Fatalf("vm cp %v: %q, %q, status %d", args, out, errs, status)
		}
	}
	if data, err := os.ReadFile(filepath.Join(dir, "back")); string(data) != "a\x00b" || err != nil {
		t.Errorf("came back as %q, %v", data, err)
	}
	out, errs, status := run("vm", "cp", "dev:/notes", "-")
	if h, err := tar.NewReader(bytes.NewReader([]byte(out))).Next(); err != nil || h.Name != "notes" || status != 0 {
		t.Errorf("as tar: %+v, %v, %q, status %d", h, err, errs, status)
	}
	if _, errs, status := runWith(bytes.NewReader([]byte(out)), "vm", "cp", "-", "dev:/"); status != 0 {
		t.Errorf("from tar: %q, status %d", errs, status)
	}
	if _, errs, status := run("vm", "cp", "dev:/nope", dir); status != 1 || errs == "" {
		t.Errorf("what is not there: %q, status %d", errs, status)
	}
	for _, args := range [][]string{{"a", "b"}, {"dev:/a", "web:/b"}, {"dev:", "b"}} {
		if _, _, status := run("vm", "cp", args[0], args[1]); status != exitUsage {
			t.Errorf("vm cp %v: status %d", args, status)
		}
	}
}
