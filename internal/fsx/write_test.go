package fsx

import (
	"os"
	"path/filepath"
	"testing"
)

func TestRemoveTemporary(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "[odd] name*")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "names.json")
	if err := WriteFile(path, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".names.json.123", ".other.json.123"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := RemoveTemporary(path); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 || entries[0].Name() != ".other.json.123" || entries[1].Name() != "names.json" {
		t.Errorf("%v, %v", entries, err)
	}
}
