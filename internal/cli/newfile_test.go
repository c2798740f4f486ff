package cli

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"
)

// listed is what is in a directory, hidden files too.
func listed(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func TestNewFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	want := append(bytes.Repeat([]byte{1}, 8192), make([]byte, 1<<20)...)
	n, err := createFile(path, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := listed(t, dir); !strings.HasPrefix(got, ".f.") {
		t.Errorf("while it is written there is %q", got)
	}
	for rest := want; len(rest) > 0; rest = rest[8192:] {
		if _, err := n.Write(rest[:8192]); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.finish(nil); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) || listed(t, dir) != "f" {
		t.Errorf("%d bytes of %d, %v; there is %q", len(got), len(want), err, listed(t, dir))
	}
}

// TestNewFileLeavesNothing: neither where it fails, nor where its name was taken
// meanwhile; and what has that name stays.
func TestNewFileLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	n, err := createFile(path, false)
	if err != nil {
		t.Fatal(err)
	}
	failed := errors.New("failed")
	if err := n.finish(failed); err != failed || listed(t, dir) != "" {
		t.Errorf("got %v, left %q", err, listed(t, dir))
	}
	if n, err = createFile(path, false); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("another's"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := n.finish(nil); api.KindOf(err) != api.KindExists || listed(t, dir) != "f" {
		t.Errorf("got %v, left %q", err, listed(t, dir))
	}
	if _, err := createFile(path, false); api.KindOf(err) != api.KindExists || api.AsError(err).Hint != "--force replaces it" {
		t.Errorf("got %v", err)
	}
	if data, err := os.ReadFile(path); string(data) != "another's" {
		t.Errorf("got %q, %v", data, err)
	}
}
