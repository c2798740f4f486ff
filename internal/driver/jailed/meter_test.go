package jailed

import (
	"os"
	"path/filepath"
	"testing"
)

func TestChargedMemory(t *testing.T) {
	root, id := t.TempDir(), "0123456789ab"
	if n, err := chargedMemory(root, id); err == nil {
		t.Errorf("without a unit: %d", n)
	}
	dir := filepath.Join(root, "banger.slice", "banger-vm-0123456789ab.service")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]int64{"4096\n": 4096, "0\n": 0, "max\n": -1, "": -1, "-1\n": -1} {
		if err := os.WriteFile(filepath.Join(dir, "memory.current"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		n, err := chargedMemory(root, id)
		if (err != nil) != (want < 0) || err == nil && n != want {
			t.Errorf("%q: %d, %v", text, n, err)
		}
	}
}
